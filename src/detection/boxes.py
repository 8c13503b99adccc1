"""Axis-aligned boxes on the host: x0, y0, x1, y1 in pixels, without the +1 of older code."""

import numpy as np


def areas(boxes: np.ndarray) -> np.ndarray:
    """(n, 4) -> (n,); 0 where a side is negative."""
    return np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)


def _intersections(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n, 4), (m, 4) -> (n, m)."""
    width = np.minimum(one[:, None, 2], other[None, :, 2]) - np.maximum(one[:, None, 0], other[None, :, 0])
    height = np.minimum(one[:, None, 3], other[None, :, 3]) - np.maximum(one[:, None, 1], other[None, :, 1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def pairwise_iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union: (n, 4), (m, 4) -> (n, m) of their type; 0 for boxes without area."""
    shared = _intersections(one, other)
    union = areas(one)[:, None] + areas(other)[None] - shared
    return shared / np.maximum(union, 1e-6)


def pairwise_iof(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over the area of the first: (n, 4), (m, 4) -> (n, m)."""
    return _intersections(one, other) / np.maximum(areas(one)[:, None], 1e-6)
