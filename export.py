"""Writes a trained network for deployment: python export.py --checkpoint FILE --file_format MINDIR"""

from collections.abc import Sequence
from dataclasses import dataclass

from src.engine.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.config import parse_command_line  # isort: skip
from src.engine.run_folder import RunFolder
from src.engine.trained_network import choose_checkpoint, open_trained_network
from src.export import TOLERANCE, export_network
from src.exported_file import ending_of, sidecar_of


@dataclass
class ExportOptions:
    """What to write.

    Args:
        checkpoint: file with the weights; the run's best checkpoint when null.
        file_format: MINDIR, or AIR on Ascend.
        file_name: of the file; export/<model> in the run's folder when null.
        batch_size: the only batch size that the file takes; any when null.
    """

    checkpoint: str | None = None
    file_format: str = "MINDIR"
    file_name: str | None = None
    batch_size: int | None = None


def main(argv: Sequence[str] | None = None) -> None:
    config, options, name = parse_command_line(
        "export.py",
        "Writes a file for deployment, compares it with the network and describes it.",
        ExportOptions,
        argv,
    )
    folder = RunFolder(config.output, name)
    ending = ending_of(options.file_format)
    checkpoint = choose_checkpoint(options.checkpoint, folder)
    trained = open_trained_network(checkpoint, config)
    print(*trained.settings, f"{trained.card.model} from {checkpoint}", sep="\n")
    export = export_network(
        trained.net,
        trained.card,
        options.file_name or folder.export / (trained.card.model + ending),
        options.file_format,
        options.batch_size,
        checkpoint,
    )
    batch = "any batch size" if options.batch_size is None else f"batch size {options.batch_size}"
    print(f"wrote {export.path} ({export.num_bytes / 1e6:.1f} MB, {batch})")
    print(f"wrote {sidecar_of(export.path)} (labels, input, preprocessing)")
    if export.comparison is None:
        print("not compared with the network: MindSpore cannot load AIR files back")
    else:
        sizes = " and ".join(map(str, export.comparison.batch_sizes))
        print(
            f"largest difference from the network: {export.comparison.largest_difference:.1e} "
            f"at batch size {sizes} (allowed: {TOLERANCE:.0e})"
        )


if __name__ == "__main__":
    run_command(main)
