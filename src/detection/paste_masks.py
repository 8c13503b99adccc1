"""Masks of detections on the host: from probabilities within a box to pixels of an image."""

from collections.abc import Iterable

import numpy as np

from .run_lengths import RunLengths, encode_window

THRESHOLD = 0.5
"""Pixels of at least this probability are the object's."""


def paste_masks(probabilities: Iterable[np.ndarray], boxes: np.ndarray, size: tuple[int, int]) -> list[RunLengths]:
    """Masks in an image as run-length codes, one instance after the other.

    A pixel takes the bilinear value at its place in the map that the box is divided into; beyond the map there are
    zeros. It is on where the value is at least 0.5. Boxes without area have no pixel.

    Args:
        probabilities: (n, S, S) float from 0 to 1, of each detection's own class within its box.
        boxes: (n, 4), x0 y0 x1 y1 in pixels of the image; finite.
        size: height and width of the image in pixels.
    """
    pasted = []
    for values, box in zip(probabilities, np.asarray(boxes, np.float64).tolist(), strict=True):
        columns, left, top = paste_window(values, box, size)
        pasted.append(encode_window(columns, left, top, size))
    return pasted


def paste_window(probabilities: np.ndarray, box: Iterable[float], size: tuple[int, int]) -> tuple[np.ndarray, int, int]:
    """The part of a mask that its box may set: columns (w, h) bool, and left and top of its first pixel.

    Args:
        probabilities: (S, S) float from 0 to 1.
        box: x0 y0 x1 y1 in pixels of the image.
        size: height and width of the image in pixels.
    """
    x0, y0, x1, y1 = box
    (left, across), (top, down) = (
        _weights(low, high, end, cells)
        for low, high, end, cells in zip((x0, y0), (x1, y1), size[::-1], probabilities.shape[::-1], strict=True)
    )
    return across @ probabilities.T.astype(np.float32) @ down.T >= THRESHOLD, left, top


def _weights(low: float, high: float, end: int, cells: int) -> tuple[int, np.ndarray]:
    """The first pixel whose centre may lie in a box on an axis, and how much each of the pixels from it on (p,) takes
    of each cell: (p, cells) float32. Centres outside the box are less than half inside the map, and never set."""
    if not high > low:
        return 0, np.zeros((0, cells), np.float32)
    first, last = (int(min(max(value, 0), end)) for value in (np.floor(low), np.ceil(high)))
    places = (np.arange(first, last) + 0.5 - low) / (high - low) * cells - 0.5
    return first, np.maximum(1 - np.abs(places[:, None] - np.arange(cells)), 0).astype(np.float32)
