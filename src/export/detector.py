"""What export.py does with a detector's checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import Config
from ..devices.device import set_up_device
from ..errors import UserError
from ..tasks.detection import Detection
from ..terminal.progress import print_line
from ..weights.checkpoint import read_checkpoint
from .detector_exporter import DetectorExporter, check_detector_form, fix_batch_size
from .exporter import Form, check_form
from .file_names import output_of, stem_of


def export_detector(
    checkpoint: Path,
    config: Config,
    given: Mapping[str, Any],
    forms: Sequence[Form],
    image_sizes: Sequence[int],
    file_name: str | None,
    folder: Path,
    overwrite: bool = False,
) -> list[Path]:
    """Writes the files of a detector, tells about each, and returns their paths.

    Args:
        checkpoint: the file.
        config: chooses the device.
        given: what the command line says itself, `CommandLine.given`.
        forms: what to write.
        image_sizes: must be empty; the canvas is the card's.
        file_name: of the file; the detector's name in `folder` when None.
        folder: see `file_name`.
        overwrite: replace files of other content.

    Raises:
        UserError: what a detector is not exported as, a file of other content that is there, and as
            `DetectorExporter.write` does.
    """
    content = read_checkpoint(checkpoint)
    task = Detection(config)
    task.card = task.card_of(content, given)
    for form in forms:
        check_detector_form(form)
    if image_sizes:
        raise UserError("--image_size: a detector is exported for its canvas; leave it out")
    lines = set_up_device(config.device, config.seed, task.uses_convolution)
    net, adapted = task.load_network(content)
    for line in (*lines, f"{task.card.model} from {checkpoint}", *adapted):
        print_line(line)
    stem = stem_of(file_name, [form.file_format for form in forms], folder / task.card.model)
    exporter = DetectorExporter(net, task.card, checkpoint)
    outputs = [output_of(stem, form.file_format, marks="" if file_name else form.marks) for form in forms]
    for output, form in zip(outputs, forms, strict=True):
        for file, _ in exporter.outputs(output):
            check_form(fix_batch_size(form), file)
        if not overwrite:
            exporter.check_replaceable(output, form)
    written = []
    for output, form in zip(outputs, forms, strict=True):
        for export in exporter.write(output, form):
            print(*export.describe(fix_batch_size(form)), sep="\n")
            written.append(export.path)
    return written
