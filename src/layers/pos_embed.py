"""Learned position tables at another input size, resized on the host in NumPy; in the graph: `resized_pos`.

The interpolation is PyTorch's `interpolate(mode="bicubic", align_corners=False, antialias=False)`, with which such
tables are usually resized: Keys' cubic kernel with a = -0.75, half-pixel centres, the edge repeated. It keeps constants
and bends linear ramps a little. MindSpore's own bicubic differs from it by up to 0.3, Pillow's has another kernel
(a = -0.5, wider when it shrinks). Each axis is a product with a matrix, in float64.
"""

import numpy as np

_A = -0.75  # Keys' free parameter


def resize_grid(table: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a table over its first two axes.

    Args:
        table: (h, w, C), any real type.
        size: The new (H, W).

    Returns:
        (H, W, C), float32; the same values where `size` is (h, w).

    Raises:
        ValueError: The table has not three axes or is empty, or a new side is below 1.
    """
    if table.ndim != 3 or 0 in table.shape or min(size) < 1:
        raise ValueError(f"expected a table (h, w, C) and a size (H, W) of at least 1, got {table.shape} and {size}")
    if table.shape[:2] == tuple(size):
        return table.astype(np.float32)
    rows, columns = (cubic_matrix(old, new) for old, new in zip(table.shape[:2], size, strict=True))
    return np.einsum("Hh,hwc,Ww->HWc", rows, table.astype(np.float64), columns, optimize=True).astype(np.float32)


def resize_pos_embed(
    table: np.ndarray, old_grid: tuple[int, int], new_grid: tuple[int, int], num_prefix_tokens: int
) -> np.ndarray:
    """Resizes the position table of a token sequence; the entries of prefix tokens (the class token) stay as they are.

    Args:
        table: (1, num_prefix_tokens + h * w, C), the grid row by row.
        old_grid: (h, w).
        new_grid: (H, W).
        num_prefix_tokens: Entries in front of the grid.

    Returns:
        (1, num_prefix_tokens + H * W, C), float32.

    Raises:
        ValueError: The table does not have this form.
    """
    height, width = old_grid
    if table.ndim != 3 or table.shape[:2] != (1, num_prefix_tokens + height * width):
        expected = f"(1, {num_prefix_tokens} + {height} * {width}, C)"
        raise ValueError(f"expected a position table of shape {expected}, got {table.shape}")
    prefix, grid = table[0, :num_prefix_tokens], table[0, num_prefix_tokens:]
    grid = resize_grid(grid.reshape(height, width, -1), new_grid)  # (H, W, C)
    return np.concatenate([prefix.astype(np.float32), grid.reshape(-1, grid.shape[-1])])[None]


def resize_relative_pos(
    table: np.ndarray,
    old_query_grid: tuple[int, int],
    old_key_grid: tuple[int, int],
    new_query_grid: tuple[int, int],
    new_key_grid: tuple[int, int],
) -> np.ndarray:
    """Resizes a bias per query and key, over the query grid and then over the key grid.

    Args:
        table: (1, heads, hq * wq, hk * wk), both grids row by row.
        old_query_grid: (hq, wq).
        old_key_grid: (hk, wk).
        new_query_grid: (Hq, Wq).
        new_key_grid: (Hk, Wk).

    Returns:
        (1, heads, Hq * Wq, Hk * Wk), float32.

    Raises:
        ValueError: The table does not have this form.
    """
    (hq, wq), (hk, wk) = old_query_grid, old_key_grid
    if table.ndim != 4 or (table.shape[0], *table.shape[2:]) != (1, hq * wq, hk * wk):
        raise ValueError(f"expected a table of shape (1, heads, {hq} * {wq}, {hk} * {wk}), got {table.shape}")
    heads = table.shape[1]
    queries = new_query_grid[0] * new_query_grid[1]
    over_queries = table[0].transpose(1, 0, 2).reshape(hq, wq, -1)  # (hq, wq, heads * hk * wk)
    over_queries = resize_grid(over_queries, new_query_grid)  # (Hq, Wq, heads * hk * wk)
    over_keys = over_queries.reshape(queries * heads, hk, wk).transpose(1, 2, 0)  # (hk, wk, Hq * Wq * heads)
    over_keys = resize_grid(over_keys, new_key_grid)  # (Hk, Wk, Hq * Wq * heads)
    return over_keys.reshape(-1, queries, heads).transpose(2, 1, 0)[None].copy()


def cubic_matrix(old: int, new: int) -> np.ndarray:
    """(new, old): row i weighs the old entries for new entry i; every row sums to 1."""
    # In float32 as in PyTorch: an exact centre moves large tables by 1e-5 away from what the authors' code gives.
    scale = np.float32(old) / np.float32(new)
    centre = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)  # in old entries
    first = np.floor(centre).astype(int) - 1  # of four
    matrix = np.zeros((new, old))
    for tap in range(4):
        weight = _cubic_kernel(np.abs(centre - (first + tap)))
        np.add.at(matrix, (np.arange(new), np.clip(first + tap, 0, old - 1)), weight)
    return matrix


def _cubic_kernel(distance: np.ndarray) -> np.ndarray:
    """Keys (1981), equation 4 with a = -0.75, for distances from 0 to 2."""
    near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * _A - 4 * _A
    return np.where(distance <= 1, near, far)
