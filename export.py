"""Writes a trained network for deployment: python export.py --checkpoint FILE --file_format MINDIR ONNX"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.config import Config, parse_command_line  # isort: skip
from src.detection.catalogue import list_detectors
from src.engine.run_folder import RunFolder
from src.export.detector import export_detector
from src.export.detector_exporter import check_formats
from src.export.exported_file import LARGEST_BATCH, read_key
from src.export.exporter import Exporter, Form, check_form
from src.export.file_names import ending_of, output_of, stem_of
from src.portability.audit import audit_configuration
from src.portability.docstrings import PLATFORMS
from src.tasks.trained_network import at_image_size, open_trained_network
from src.terminal.progress import print_line
from src.terminal.text_table import terminal_width
from src.weights.checkpoint import read_checkpoint
from src.weights.detector_card import DetectorCard


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
    what = "Writes files for deployment, compares each with the network and describes it."
    config, options, name, given = parse_command_line("export.py", what, ExportOptions, argv)
    folder = RunFolder(config.output, name)
    if options.audit:
        _check_formats(config, options)
        result = audit_configuration(config, options.checkpoint, given, options.target)
        print(result.to_text(terminal_width()))
        result.check()
        return
    key = read_key(options.encrypt_key_file) if options.encrypt_key_file else None
    forms = [
        Form(file_format, options.batch_size, options.precision, options.pixels, tuple(options.stages), key)
        for file_format in dict.fromkeys(options.file_format)
        if ending_of(file_format)  # raises where there is no such format
    ]
    checkpoint = folder.choose_checkpoint(options.checkpoint)
    if isinstance(read_checkpoint(checkpoint).card, DetectorCard):
        export_detector(checkpoint, config, given, forms, options.image_size, options.file_name, folder.export)
        return
    trained = open_trained_network(checkpoint, config, given)
    for line in (*trained.settings, f"{trained.card.model} from {checkpoint}", *trained.changes):
        print_line(line)
    stem = stem_of(options.file_name, options.file_format, folder.export / trained.card.model)
    for form in forms:
        check_form(form, output_of(stem, form.file_format))
    for side in options.image_size or [None]:
        sized = trained if side is None else at_image_size(trained, side)
        exporter = Exporter(sized.net, sized.card, checkpoint)
        for form in forms:
            output = output_of(stem, form.file_format, side if len(options.image_size) > 1 else None)
            print(*exporter.write(output, form).describe(form), sep="\n")


def _check_formats(config: Config, options: ExportOptions) -> None:
    """Refuses, before an audit, formats that a detector has no file in."""
    card = read_checkpoint(options.checkpoint).card if options.checkpoint else None
    name = card.model if isinstance(card, DetectorCard) else config.model.name
    if name in list_detectors():
        check_formats(options.file_format)


if __name__ == "__main__":
    run_command(main)
