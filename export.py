"""Writes a trained network for deployment: python export.py --checkpoint FILE --file_format MINDIR ONNX"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.config import Config, parse_command_line  # isort: skip
from src.detection.catalogue import list_detectors
from src.engine.run_folder import RunFolder
from src.errors import UserError
from src.export.calibration import CalibrationOptions
from src.export.classifier import export_classifier
from src.export.detector import export_detector
from src.export.detector_exporter import check_formats
from src.export.exported_file import LARGEST_BATCH, read_key
from src.export.exporter import Form
from src.export.file_names import ending_of
from src.portability.audit import audit_configuration
from src.portability.docstrings import PLATFORMS
from src.prediction.predictions import find_images
from src.terminal.outcome import next_line
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
        file_name: of the file, with or without the ending; export/<model> in the run's folder when null, with what
            tells its form from others, as in <model>_384_float16_pixels. Sizes are added in any case where there are
            several.
        overwrite: replace files that are there and hold another network, or another form of it.
        image_size: one or several sides in pixels, a file each, position tables resized; the checkpoint's when empty.
        batch_size: the only batch size that the files take; any when null.
        precision: float32, or float16 for products and their weights, or int8 for both (ONNX).
        calibration: images, and folders of images, that int8 files are calibrated and judged on; those of the
            configuration's validation data when left out.
        calibration_images: how many are taken at least.
        largest_drop: percentage points of accuracy on them that an int8 file may lose.
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
    overwrite: bool = False
    image_size: list[int] = field(default_factory=list, metadata={"range": (1, 16384)})
    batch_size: int | None = field(default=None, metadata={"range": (1, LARGEST_BATCH)})
    precision: str = "float32"
    calibration: list[str] = field(default_factory=list)
    calibration_images: int = field(default=256, metadata={"range": (1, 100_000)})
    largest_drop: float = field(default=1.0, metadata={"range": (0, 100)})
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
    what = checkpoint, config, given, forms, options.image_size, options.file_name, folder.export, options.overwrite
    if isinstance(read_checkpoint(checkpoint).card, DetectorCard):
        written = export_detector(*what)
    else:
        written = export_classifier(*what, _calibration_of(options))
    if line := _next(written[0], options):
        print_line(line)


def _calibration_of(options: ExportOptions) -> CalibrationOptions:
    files, problems = find_images(options.calibration)
    if problems:
        raise UserError(f"--calibration: {problems[0].reason}")
    return CalibrationOptions(files, options.calibration_images, options.largest_drop)


def _next(file: Path, options: ExportOptions) -> str | None:
    """What to do with a file; None where predict.py does not take it."""
    if options.stages or file.suffix not in map(ending_of, ("MINDIR", "ONNX")):
        return None
    key = ["--decrypt_key_file", options.encrypt_key_file] if options.encrypt_key_file else []
    return next_line("predict.py", "IMAGE_OR_FOLDER", "--model_file", file, *key)


def _check_formats(config: Config, options: ExportOptions) -> None:
    """Refuses, before an audit, formats that a detector has no file in."""
    card = read_checkpoint(options.checkpoint).card if options.checkpoint else None
    name = card.model if isinstance(card, DetectorCard) else config.model.name
    if name in list_detectors():
        check_formats(options.file_format)


if __name__ == "__main__":
    run_command(main)
