"""Writes a trained network for deployment: python export.py --checkpoint FILE --file_format MINDIR ONNX"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.config import Config, parse_command_line  # isort: skip
from src.engine.build import create_card
from src.engine.run_folder import RunFolder
from src.engine.trained_network import at_image_size, choose_checkpoint, open_trained_network, set_up_device_for
from src.errors import UserError
from src.export.exported_file import ENDINGS, LARGEST_BATCH, ending_of, read_key, sidecar_of
from src.export.exporter import Export, Exporter, Form, check_form
from src.portability.audit import audit
from src.portability.docstrings import PLATFORMS
from src.terminal.progress import print_line


@dataclass
class ExportOptions:
    """What to write.

    Args:
        checkpoint: file with the weights; the run's best checkpoint when null.
        file_format: one or several of MINDIR, ONNX, and AIR on Ascend.
        file_name: of the file, with or without the ending; export/<model> in the run's folder when null. Sizes are
            added where there are several.
        image_size: one or several sides in pixels, a file each, position tables resized; the checkpoint's when empty.
        batch_size: the only batch size that the files take; any when null.
        precision: float32, or float16 for products and their weights.
        pixels: files take uint8 pixels (B, H, W, C) and normalise them inside.
        stages: files give the maps of these stages, counted from 0, in place of the logits.
        encrypt_key_file: file with a key of 16, 24 or 32 bytes that encrypts MINDIR files (AES-GCM).
        audit: write nothing; list the operators of the network and of its training step, and what MindSpore documents
            about each on the devices of --target; without a checkpoint, for the network of the configuration.
        target: devices of the audit, of Ascend, GPU and CPU.
    """

    checkpoint: str | None = None
    file_format: list[str] = field(default_factory=lambda: ["MINDIR"])
    file_name: str | None = None
    image_size: list[int] = field(default_factory=list, metadata={"range": (1, 16384)})
    batch_size: int | None = field(default=None, metadata={"range": (1, LARGEST_BATCH)})
    precision: str = "float32"
    pixels: bool = False
    stages: list[int] = field(default_factory=list, metadata={"range": (0, 1000)})
    encrypt_key_file: str | None = None
    audit: bool = False
    target: list[str] = field(default_factory=lambda: list(PLATFORMS))


def main(argv: Sequence[str] | None = None) -> None:
    config, options, name, given = parse_command_line(
        "export.py",
        "Writes files for deployment, compares each with the network and describes it.",
        ExportOptions,
        argv,
    )
    folder = RunFolder(config.output, name)
    if options.audit:
        _audit(config, options, given)
        return
    key = read_key(options.encrypt_key_file) if options.encrypt_key_file else None
    forms = [
        Form(file_format, options.batch_size, options.precision, options.pixels, tuple(options.stages), key)
        for file_format in dict.fromkeys(options.file_format)
    ]
    for form in forms:
        ending_of(form.file_format)
    checkpoint = choose_checkpoint(options.checkpoint, folder)
    trained = open_trained_network(checkpoint, config, given)
    for line in (*trained.settings, f"{trained.card.model} from {checkpoint}", *trained.changes):
        print_line(line)
    stem = _stem(options, folder.export / trained.card.model)
    for form in forms:
        check_form(form, _output(stem, form, None))
    for side in options.image_size or [None]:
        sized = trained if side is None else at_image_size(trained, side)
        exporter = Exporter(sized.net, sized.card, checkpoint)
        for form in forms:
            _tell(exporter.write(_output(stem, form, side if len(options.image_size) > 1 else None), form), form)


def _audit(config: Config, options: ExportOptions, given: Mapping[str, Any]) -> None:
    if options.checkpoint is None:
        classes = [str(label) for label in range(config.model.num_classes or 1000)]
        card = create_card(config, classes)
        set_up_device_for(card, config)
    else:
        card = open_trained_network(Path(options.checkpoint), config, given).card
    result = audit(config, card, options.target)
    print(result.to_text(shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
    result.check()


def _stem(options: ExportOptions, default: Path) -> Path:
    """The files' name without size and ending."""
    path = Path(options.file_name or default)
    if options.file_name is None or path.suffix not in ENDINGS.values():
        return path
    endings = [ending_of(file_format) for file_format in options.file_format]
    if endings != [path.suffix]:
        raise UserError(
            f"{path}: the name of {' and '.join(options.file_format)} files must end in {' and '.join(endings)}; leave "
            "the ending out, it is added"
        )
    return path.with_suffix("")


def _output(stem: Path, form: Form, side: int | None) -> Path:
    size = "" if side is None else f"_{side}"
    return stem.with_name(f"{stem.name}{size}{ending_of(form.file_format)}")


def _tell(export: Export, form: Form) -> None:
    batch = "any batch size" if form.batch_size is None else f"batch size {form.batch_size}"
    print(f"wrote {export.path} ({export.num_bytes / 1e6:.1f} MB, {form.precision}, {batch})")
    print(f"wrote {sidecar_of(export.path)} (labels, input, preprocessing)")
    comparison = export.comparison
    if comparison is None:
        print("not compared with the network: MindSpore cannot load AIR files back")
    else:
        sizes = " and ".join(map(str, comparison.batch_sizes))
        print(
            f"largest difference from the network ({comparison.measure}): {comparison.largest_difference:.1e} at batch "
            f"size {sizes} (allowed: {comparison.allowed:.0e}; {comparison.runtime})"
        )


if __name__ == "__main__":
    run_command(main)
