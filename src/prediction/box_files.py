"""Boxes as CSV files; `coco_results` has those in JSON."""

from collections.abc import Iterable, Sequence

from .coco_results import FoundInFile, to_dict
from .files import csv_line, csv_text, write_csv


def to_csv(images: Iterable[FoundInFile], classes: Sequence[str]) -> str:
    """A line for each box of each image: file, label, score, x0, y0, x1, y1 in pixels of the file.

    Images without a box are not in it. Names are safe as those of `files.to_csv`.

    Raises:
        NotFiniteError: a box or score is not finite.
    """
    lines = [csv_line("file", "label", "score", "x0", "y0", "x1", "y1")]
    for image in to_dict(images, classes)["images"]:
        for found in image["detections"]:
            lines.append(csv_line(csv_text(image["file"]), csv_text(found["label"]), found["score"], *found["box"]))
    return "".join(lines)


def write_boxes_csv(path: str, images: Iterable[FoundInFile], classes: Sequence[str]) -> None:
    """Writes what `to_csv` gives.

    Raises:
        NotFiniteError: as `to_csv` does.
        UserError: the file cannot be written; an older one at `path` is intact.
    """
    write_csv(path, to_csv(images, classes))
