"""Pictures of position tables: how alike the positions of sentences are, and those of words within a sentence."""

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mindspore import nn

MOST_POSITIONS = 14
"""Positions of a row or column that get a map of their own; of larger grids every second, third ... one."""


def position_tables(net: nn.Cell) -> dict[str, np.ndarray]:
    """The tables of a network as (height, width, width of the tokens), without class token, by what they are of."""
    tables = {}
    grid = net.grid_sizes[0] if hasattr(net, "grid_sizes") else net.grid_size
    sentences = (net.outer_pos if hasattr(net, "outer_pos") else net.pos_embed).asnumpy()[0]
    tables["sentences"] = sentences[len(sentences) - grid[0] * grid[1] :].reshape(*grid, -1)
    if hasattr(net, "inner_pos"):
        words = net.inner_pos.asnumpy()[0]
        side = round(len(words) ** 0.5)
        tables["words"] = words.reshape(side, side, -1)
    return tables


def similarity_maps(table: np.ndarray) -> np.ndarray:
    """Cosine similarity of every position to every other: (height, width, D) -> (height, width, height, width)."""
    unit = table / np.maximum(np.linalg.norm(table, axis=2, keepdims=True), 1e-12)
    return np.einsum("abd,cwd->abcw", unit, unit)


def _side_by_side(maps: np.ndarray) -> np.ndarray:
    """(rows, columns, height, width) -> one picture, with gaps of an eighth of a map or less, which are NaN."""
    rows, columns, height, width = maps.shape
    factor = -(-8 // max(height, width))  # cells of a small map are several pixels, so that a gap is narrow beside it
    height, width = height * factor, width * factor
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for row, column in np.ndindex(rows, columns):
        top, left = row * (height + 1), column * (width + 1)
        enlarged = maps[row, column].repeat(factor, axis=0).repeat(factor, axis=1)
        picture[top : top + height, left : left + width] = enlarged
    return picture


def draw_positions(tables: dict[str, np.ndarray], title: str) -> Figure:
    """Draws each table as one map a position, at its place: its similarity to all others, from -1 to 1."""
    figure = Figure(figsize=(6.5 * len(tables) + 0.8, 7), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    all_axes = figure.subplots(1, len(tables), squeeze=False)[0]
    for axes, (name, table) in zip(all_axes, tables.items(), strict=True):
        maps = similarity_maps(table)
        height, width = maps.shape[:2]
        step = -(-max(height, width) // MOST_POSITIONS)
        shown = maps[step // 2 :: step, step // 2 :: step]
        drawn = axes.imshow(_side_by_side(shown), cmap=colormaps["coolwarm"], vmin=-1, vmax=1, interpolation="nearest")
        every = "" if step == 1 else f", every {step}. row and column"
        axes.set_title(f"{name}: {height} x {width} positions{every}", fontsize=10)
        axes.set_axis_off()
    figure.colorbar(drawn, ax=list(all_axes), shrink=0.6, label="cosine similarity")
    return figure
