"""Rows of tables in the graph."""

from mindspore import ops


def rows_of_map(x, width: int):
    """A head's map (B, n * width, H, W) -> (B, H * W * n, width): position by position, in the order of anchors."""
    return ops.transpose(x, (0, 2, 3, 1)).reshape(x.shape[0], -1, width)


def rows_of_batch(values, rows):
    """Values (B, n, k) and rows (B, m) int32 of each image -> (B, m, k)."""
    index = ops.tile(rows.reshape(rows.shape[0], rows.shape[1], 1), (1, 1, values.shape[2]))
    return ops.gather_elements(values, 1, index)
