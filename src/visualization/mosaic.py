"""Many small pictures side by side, with names for rows and columns, as one matplotlib figure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

TILE_SIDE = 96
"""Pixels of the longer side of an image in a mosaic."""

GAP = 4
DPI = 100


@dataclass(frozen=True)
class Mosaic:
    """Tiles in rows and columns.

    Attributes:
        title: above all.
        rows: names of the rows.
        columns: names of the columns.
        tiles: for each row its tiles (height, width, 3), all of one size, values 0 .. 1; a row may end early.
    """

    title: str
    rows: list[str]
    columns: list[str]
    tiles: list[list[np.ndarray]]

    def draw(self) -> Figure:
        """The figure; a tile has as many pixels in it as in its array."""
        blank = np.ones_like(self.tiles[0][0])
        rows = [[*row, *[blank] * (len(self.columns) - len(row))] for row in self.tiles]
        pixels = _beside([_beside(row, axis=1) for row in rows], axis=0)
        height, width = pixels.shape[:2]
        left, top, right = 10 + 7 * max(map(len, self.rows)), 55, 10
        right = max(right, 9 * len(self.title) - left - width)  # or the title would be cut off
        size = (left + width + right, top + height + 10)
        figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((left / size[0], 10 / size[1], width / size[0], height / size[1]))
        axes.imshow(pixels, interpolation="nearest", aspect="auto")
        tile_height, tile_width = self.tiles[0][0].shape[:2]
        axes.set_xticks([tile_width / 2 + i * (tile_width + GAP) for i in range(len(self.columns))], self.columns)
        axes.set_yticks([tile_height / 2 + i * (tile_height + GAP) for i in range(len(self.rows))], self.rows)
        _hide_frame(axes)
        axes.tick_params(length=0, labelsize=9, top=True, labeltop=True, bottom=False, labelbottom=False)
        figure.text(10 / size[0], 1 - 8 / size[1], self.title, fontsize=11, va="top", parse_math=False)
        return figure


def _hide_frame(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)


def _beside(tiles: Sequence[np.ndarray], axis: int) -> np.ndarray:
    shape = list(tiles[0].shape)
    shape[axis] = GAP
    white = np.ones(shape)
    return np.concatenate([part for tile in tiles for part in (tile, white)][:-1], axis=axis)


def image_tile(pixels: np.ndarray, side: int = TILE_SIDE) -> np.ndarray:
    """(H, W, 1 or 3) uint8 -> (height, width, 3) of 0 .. 1, the longer side `side` pixels."""
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).convert("RGB")
    factor = side / max(image.size)
    size = tuple(max(1, round(length * factor)) for length in image.size)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC)) / 255.0


def map_tile(values: np.ndarray, stride: int, image_size: tuple[int, int], side: int = TILE_SIDE) -> np.ndarray:
    """A map as large as the image's tile: (h, w, ...) -> (height, width, ...).

    Args:
        values: one for each square of `stride` pixels, from the upper left corner; squares beyond the image are cut.
        stride: pixels.
        image_size: (H, W).
        side: of the image's tile.
    """
    factor = side / max(image_size)
    indices = []
    for length, count in zip(image_size, values.shape, strict=False):
        positions = np.arange(max(1, round(length * factor))) + 0.5
        indices.append(np.minimum((positions / factor / stride).astype(int), count - 1))
    return values[np.ix_(*indices)]


def heat(values: np.ndarray) -> np.ndarray:
    """Colours for values that are drawn relative to the largest: (...) -> (..., 3)."""
    largest = np.nanmax(values)
    return colormaps["inferno"](values / largest if largest > 0 else values)[..., :3]


def overlay(image: np.ndarray, values: np.ndarray, stride: int, image_size: tuple[int, int]) -> np.ndarray:
    """A map over the tile of its image; the more weight, the less of the image is seen."""
    side = max(image.shape[:2])
    covered = map_tile(values / max(values.max(), 1e-30), stride, image_size, side)[..., None]
    opacity = 0.45 + 0.4 * covered
    return (1 - opacity) * image.mean(axis=2, keepdims=True) + opacity * heat(covered[..., 0])
