"""Boxes and rows of tables in the graph, by operators that compile fast.

Indexing a tensor, `ops.arange`, `Tensor.max` and `Tensor.swapaxes` take ten to a hundred times as long to compile as
an operator does, and a detector has dozens of each.
"""

from mindspore import ops

split_sides = ops.Split(axis=-1, output_num=4)
"""Boxes (..., 4) -> x0, y0, x1, y1, (..., 1) each."""
split_corners = ops.Split(axis=-1, output_num=2)
"""Boxes (..., 4) -> two opposite corners, deltas (..., 4) -> shifts and logarithms, (..., 2) each."""


def rows_of_map(x, width: int):
    """A head's map (B, n * width, H, W) -> (B, H * W * n, width): position by position, in the order of anchors."""
    return ops.transpose(x, (0, 2, 3, 1)).reshape(x.shape[0], -1, width)


def rows_of_batch(values, rows):
    """Values (B, n, k) and rows (B, m) int32 of each image -> (B, m, k)."""
    index = ops.tile(rows.reshape(rows.shape[0], rows.shape[1], 1), (1, 1, values.shape[2]))
    return ops.gather_elements(values, 1, index)


def have_area(boxes):
    """Which boxes (B, n, 4) do, (B, n) bool."""
    x0, y0, x1, y1 = split_sides(boxes)
    return ops.logical_and(x1 > x0, y1 > y0).reshape(boxes.shape[:2])


def limits_of(shapes):
    """Images' shapes (B, 2) as (height, width) -> the largest x, y, x, y of boxes in each (B, 1, 4)."""
    height, width = ops.Split(axis=1, output_num=2)(shapes)
    return ops.concat((width, height, width, height), 1).reshape(-1, 1, 4)
