"""Detections as JSON files, which appear whole or not at all: COCO's results of images with ids, or lists by file."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..detection.run_lengths import RunLengths
from ..files.json_file import to_json_line, write_json
from ..files.whole_file import write_whole
from ..tasks.scores import NotFiniteError
from .predictions import Skipped

PIXEL_DIGITS, SCORE_DIGITS = 2, 5


class Found(NamedTuple):
    """Detections of one image, n in the order in which they are written.

    Attributes:
        boxes: (n, 4), x0 y0 x1 y1 in pixels of the image as it is in its file.
        labels: (n,) whole numbers, indices of classes.
        scores: (n,) from 0 to 1.
        masks: n in the size of the image; None of a detector without.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: list[RunLengths] | None = None


class FoundInFile(NamedTuple):
    """The same of an image file.

    Attributes:
        file: the image.
        width, height: of it, in pixels.
        found: detections.
    """

    file: Path
    width: int
    height: int
    found: Found


def to_coco_results(images: Iterable[tuple[int, Found]], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """COCO's results of images with their ids: image_id, category_id, bbox [x, y, width, height], score; where there
    are masks also segmentation, a compressed run-length code.

    pycocotools takes the area of the box for that of an object that has a bbox. Where masks are scored by size, remove
    bbox.

    Args:
        images: id and detections of each.
        category_ids: label -> id of its category.

    Raises:
        NotFiniteError: a box or score is not finite.
    """
    return [
        {
            "image_id": int(number),
            "category_id": int(category_ids[label]),
            "bbox": _rounded([x0, y0, x1 - x0, y1 - y0]),
            "score": score,
            **mask,
        }
        for number, found in images
        for (x0, y0, x1, y1), label, score, mask in _rows(found, f"image {number}")
    ]


def to_dict(images: Iterable[FoundInFile], classes: Sequence[str], skipped: Iterable[Skipped] = ()) -> dict[str, Any]:
    """Plain values for JSON: of each image file, width, height and detections (label, score, box [x0, y0, x1, y1]
    and, where there are masks, segmentation, COCO's compressed run-length code).

    Args:
        images: those that were read.
        classes: index -> label.
        skipped: files without detections because they could not be read.

    Raises:
        NotFiniteError: a box or score is not finite.
    """
    return {
        "images": [
            {
                "file": str(image.file),
                "width": int(image.width),
                "height": int(image.height),
                "detections": [
                    {"label": classes[label], "score": score, "box": _rounded(box), **mask}
                    for box, label, score, mask in _rows(image.found, str(image.file))
                ],
            }
            for image in images
        ],
        "skipped": [{"file": str(item.file), "reason": item.reason} for item in skipped],
    }


def write_coco_results(path: str | Path, images: Iterable[tuple[int, Found]], category_ids: Sequence[int]) -> None:
    """Writes a file that pycocotools' `loadRes` reads (it takes none without a detection), a detection a line.

    Raises:
        NotFiniteError: as `to_coco_results` does.
        UserError: the file cannot be written; an older one at `path` is intact.
    """
    lines = [to_json_line(result).rstrip("\n") for result in to_coco_results(images, category_ids)]
    write_whole(path, "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n")


def write_detections(
    path: str | Path, images: Iterable[FoundInFile], classes: Sequence[str], skipped: Iterable[Skipped] = ()
) -> None:
    """Writes what `to_dict` gives.

    Raises:
        NotFiniteError: as `to_dict` does.
        UserError: the file cannot be written; an older one at `path` is intact.
    """
    write_json(path, to_dict(images, classes, skipped))


def _rows(found: Found, name: str) -> Iterable[tuple[list[float], int, float, dict[str, Any]]]:
    """Box, label and rounded score of each detection, and its mask as a field where there are masks."""
    if not np.isfinite(found.boxes).all() or not np.isfinite(found.scores).all():
        raise NotFiniteError(
            f"the detections of {name} are not finite: the network's weights are damaged or its training diverged"
        )
    boxes, labels, scores = (np.asarray(array) for array in found[:3])
    masks = [{}] * len(boxes) if found.masks is None else [{"segmentation": mask} for mask in found.masks]
    scores = [round(score, SCORE_DIGITS) for score in scores.astype(np.float64).tolist()]
    return zip(boxes.astype(np.float64).tolist(), labels.tolist(), scores, masks, strict=True)


def _rounded(values: list[float]) -> list[float]:
    return [round(value, PIXEL_DIGITS) + 0.0 for value in values]  # -0.0 becomes 0.0
