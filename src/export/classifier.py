"""What export.py does with a classifier's checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import Config
from ..tasks.trained_network import at_image_size, open_trained_network
from ..terminal.progress import print_line
from .calibration import CalibrationOptions, read_calibration
from .exporter import Exporter, Form, check_form
from .file_names import output_of, stem_of


def export_classifier(
    checkpoint: Path,
    config: Config,
    given: Mapping[str, Any],
    forms: Sequence[Form],
    image_sizes: Sequence[int],
    file_name: str | None,
    folder: Path,
    overwrite: bool = False,
    calibration: CalibrationOptions | None = None,
) -> list[Path]:
    """Writes the files of a classifier, tells about each, and returns their paths.

    Args:
        checkpoint: the file.
        config: chooses the device.
        given: what the command line says itself, `CommandLine.given`.
        forms: what to write, a file each for every size.
        image_sizes: sides in pixels; the checkpoint's where there are none.
        file_name: of the file; the network's name in `folder`, with the size and the form, when None.
        folder: see `file_name`.
        overwrite: replace files of other content.
        calibration: images for int8 files; as `CalibrationOptions` says when None.

    Raises:
        UserError: as `open_trained_network`, `read_calibration` and `Exporter.write` do, or a file of other content is
            there.
    """
    trained = open_trained_network(checkpoint, config, given)
    for line in (*trained.settings, f"{trained.card.model} from {checkpoint}", *trained.changes):
        print_line(line)
    stem = stem_of(file_name, [form.file_format for form in forms], folder / trained.card.model)
    sides = list(dict.fromkeys(image_sizes)) or [None]
    has_size, has_marks = len(sides) > 1 or file_name is None, file_name is None
    outputs = {
        side: [
            output_of(stem, form.file_format, side if has_size else None, form.marks if has_marks else "")
            for form in forms
        ]
        for side in sides
    }
    for side in sides:
        for output, form in zip(outputs[side], forms, strict=True):
            check_form(form, output)
    exporters, needs_images = {}, any(form.precision == "int8" for form in forms)
    for side in sides:
        sized = trained if side is None else at_image_size(trained, side)
        images = (
            read_calibration(calibration or CalibrationOptions(), config, sized, print_line) if needs_images else None
        )
        exporters[side] = Exporter(sized.net, sized.card, checkpoint, images)
    jobs = [(exporters[side], *job) for side in sides for job in zip(outputs[side], forms, strict=True)]
    if not overwrite:
        for exporter, output, form in jobs:
            exporter.check_replaceable(output, form)
    for exporter, output, form in jobs:
        print(*exporter.write(output, form).describe(form), sep="\n")
    return [output for _, output, _ in jobs]
