"""Masks of annotated objects, from polygons and run-length codes as COCO's files have them.

Polygons are drawn by pycocotools, and the parts of an object put together.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from ..detection.run_lengths import lengths
from ..errors import UserError

LONGEST_NUMBER = 7
"""Letters that a number of a compressed code may have: 35 bits."""
FARTHEST = 4096
"""Pixels by which a polygon may leave its image, or the longer side of a larger image: pycocotools walks along it."""


def decode_masks(segmentations: Sequence[Any], size: tuple[int, int]) -> np.ndarray:
    """(n, height, width) uint8, 1 where an object is and 0 elsewhere.

    Args:
        segmentations: n lists of polygons [x, y, x, y ...] in pixels, or run-length codes {"size": [height, width],
            "counts": ...} with a list of whole numbers or compressed text. Points of polygons that are farther from
            the image than `FARTHEST` are moved back to there.
        size: (height, width) in pixels.

    Raises:
        UserError: pycocotools is not installed.
        ValueError: no segmentation of an image of this size.
    """
    coco_masks = _import_coco_masks()
    masks = np.zeros((len(segmentations), *size), np.uint8)
    for mask, segmentation in zip(masks, segmentations, strict=True):
        mask[:] = coco_masks.decode(_code(coco_masks, segmentation, size))
    return masks


def is_polygon(polygon: Any) -> bool:
    """Whether it is a list of finite numbers x, y, x, y ... of three points or more."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return False
    if not {type(number) for number in polygon} <= {int, float}:
        return False
    try:
        return bool(np.isfinite(np.array(polygon, np.float64)).all())
    except OverflowError:
        return False


def is_run_length_code(code: Any, size: Sequence[int]) -> bool:
    """Whether it is one whose runs fill an image of (height, width) pixels."""
    if not isinstance(code, dict) or code.get("size") != list(size):
        return False
    counts, num_pixels = code.get("counts"), size[0] * size[1]
    if isinstance(counts, list):
        return all(type(count) is int and 0 <= count <= num_pixels for count in counts) and sum(counts) == num_pixels
    return isinstance(counts, str) and _fills(counts, num_pixels)


def _fills(counts: str, num_pixels: int) -> bool:
    try:
        letters = np.frombuffer(counts.encode("ascii"), np.uint8)
        ends = np.flatnonzero((letters - 48) & 32 == 0)
        if np.diff(ends, prepend=-1).max(initial=0) > LONGEST_NUMBER:
            return False
        runs = lengths({"size": [], "counts": counts})
    except ValueError:
        return False
    return bool(runs.min() >= 0) and int(runs.sum()) == num_pixels


def _code(coco_masks: ModuleType, segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Compressed, as pycocotools decodes it."""
    height, width = size
    if is_run_length_code(segmentation, size):
        is_compressed = isinstance(segmentation["counts"], str)
        return segmentation if is_compressed else coco_masks.frPyObjects(segmentation, height, width)
    if not isinstance(segmentation, list) or not segmentation or not all(map(is_polygon, segmentation)):
        raise ValueError(f"no segmentation of an image of {width} x {height} pixels (width x height): {segmentation!r}")
    beyond = max(*size, FARTHEST)
    polygons = [np.clip(polygon, -beyond, max(size) + beyond).tolist() for polygon in segmentation]
    return coco_masks.merge(coco_masks.frPyObjects(polygons, height, width))


def _import_coco_masks() -> ModuleType:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise UserError(
            "masks of objects need the package pycocotools: pip install -r requirements-detection.txt"
        ) from error
    return mask
