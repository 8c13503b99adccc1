"""Learned position tables brought to another input size in the graph, so that they keep their size and learn."""

import numpy as np
from mindspore import Tensor, nn, ops

from .pos_embed import cubic_matrix


class ResizedPosEmbed(nn.Cell):
    """`resize_pos_embed` in the graph, so that a table keeps its size and learns: (1, h * w, C) -> (1, H * W, C).

    Args:
        old_grid: (h, w).
        new_grid: (H, W).
    """

    def __init__(self, old_grid: tuple[int, int], new_grid: tuple[int, int]):
        super().__init__()
        self.over_grid = _OverGrid(old_grid, new_grid)

    def construct(self, table):
        return self.over_grid(table[0])[None]


class ResizedRelativePos(nn.Cell):
    """`resize_relative_pos` in the graph, as two factors of low rank: the resized table of H_q * W_q by H_k * W_k,
    hundreds of MB for detection, never exists.

    Over the keys resizing is a product with a constant matrix, whose rank is the number of old keys.

    Args:
        old_query_grid, old_key_grid, new_query_grid, new_key_grid: see `resize_relative_pos`.
    """

    def __init__(
        self,
        old_query_grid: tuple[int, int],
        old_key_grid: tuple[int, int],
        new_query_grid: tuple[int, int],
        new_key_grid: tuple[int, int],
    ):
        super().__init__()
        self.over_queries = _OverGrid(old_query_grid, new_query_grid)
        rows, columns = (cubic_matrix(old, new) for old, new in zip(old_key_grid, new_key_grid, strict=True))
        self.keys = Tensor(np.kron(rows, columns).T.astype(np.float32)[None, None])  # 1 1 r S
        self.transpose = ops.Transpose()

    def construct(self, table):
        """(1, h, h_q * w_q, r), r = h_k * w_k -> (1, h, H_q * W_q, r) and (1, h, r, H_k * W_k)."""
        heads, queries, rank = table.shape[1:]
        over = self.over_queries(self.transpose(table[0], (1, 0, 2)).reshape(queries, heads * rank))
        over = self.transpose(over.reshape(-1, heads, rank), (1, 0, 2))[None]
        return over, ops.tile(self.keys, (1, heads, 1, 1))


class _OverGrid(nn.Cell):
    """Resizes rows: (h * w, C) -> (H * W, C), by a matrix product for each axis."""

    def __init__(self, old: tuple[int, int], new: tuple[int, int]):
        super().__init__()
        self.old, self.new = old, new
        self.rows, self.columns = (
            Tensor(cubic_matrix(before, after).astype(np.float32)) for before, after in zip(old, new, strict=True)
        )
        self.matmul, self.transpose = ops.MatMul(), ops.Transpose()

    def construct(self, x):
        width = x.shape[1]
        x = self.matmul(self.rows, x.reshape(self.old[0], self.old[1] * width))  # H w*C
        x = self.transpose(x.reshape(self.new[0], self.old[1], width), (1, 0, 2))  # w H C
        x = self.matmul(self.columns, x.reshape(self.old[1], self.new[0] * width))  # W H*C
        return self.transpose(x.reshape(self.new[1], self.new[0], width), (1, 0, 2)).reshape(-1, width)  # H*W C
