"""Boxes in the graph, by operators that compile fast.

Indexing a tensor and `Tensor.max` take ten times as long to compile as an operator does, and a detector needs the sides
of boxes dozens of times.
"""

from mindspore import ops

split_sides = ops.Split(axis=-1, output_num=4)
"""Boxes (..., 4) -> x0, y0, x1, y1, (..., 1) each."""
split_halves = ops.Split(axis=-1, output_num=2)
"""Boxes (..., 4) -> their two corners, deltas (..., 4) -> shifts and logarithms, (..., 2) each."""


def have_area(boxes):
    """Which boxes (B, n, 4) do, (B, n) bool."""
    x0, y0, x1, y1 = split_sides(boxes)
    return ops.logical_and(x1 > x0, y1 > y0).reshape(boxes.shape[:2])


def limits_of(shapes):
    """Images' shapes (B, 2) as (height, width) -> the largest x, y, x, y of boxes in each (B, 1, 4)."""
    height, width = split_halves(shapes)
    return ops.concat((width, height, width, height), 1).reshape(-1, 1, 4)
