"""Pictures of attention: over the image for each block and head, rolled out over blocks, and of words in a sentence."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from .mosaic import TILE_SIDE, Mosaic, heat, image_tile, overlay
from .taps import LayerTaps, Taps


def draw_attention(
    taps: Taps, group: str, image: int, pixels: np.ndarray, title: str, point: tuple[float, float] | None
) -> Figure:
    """A row for each layer of `group`, a column for each head, and one for their mean.

    Args:
        taps: of a network.
        group: of its layers.
        image: index of the image in the batch.
        pixels: (H, W, C) uint8, the image as the network sees it.
        title: of the picture.
        point: pixel (x, y) whose sentence looks; None: the class token, or the mean over all sentences.
    """
    layers = [layer for layer in taps.layers if layer.group == group and layer.attention is not None]
    tile, rows = image_tile(pixels), []
    for layer in layers:
        attention = layer.attention
        maps = attention.maps(image, None if point is None else attention.query_at(*point))
        shown = [maps.mean(axis=0), *(maps if len(maps) > 1 else [])]
        tiles = [overlay(tile, values, attention.key_stride, pixels.shape[:2]) for values in shown]
        if point is not None:
            tiles = [_outlined(one, point, attention.query_stride, pixels.shape[:2]) for one in tiles]
        rows.append([tile, *tiles])
    columns = ["image", "mean", *(f"head {number}" for number in range(1, len(rows[0]) - 1))]
    if len(columns) == 2:
        columns[1] = "attention"
    return Mosaic(title, [layer.name for layer in layers], columns, rows).draw()


def draw_rollout(
    blocks: Sequence[LayerTaps],
    shares: Sequence[np.ndarray],
    image: int,
    pixels: np.ndarray,
    title: str,
    point: tuple[float, float] | None,
) -> Figure:
    """A row for each group of blocks: the shares of the first block's tokens in what `draw_attention` takes as looking.

    Args:
        blocks: the layers that were rolled out.
        shares: what `rollout` gives for them.
        The others: see `draw_attention`.
    """
    first = blocks[0]
    tile = image_tile(pixels)
    rows: dict[str, list[np.ndarray]] = {}
    for block, rolled in zip(blocks, shares, strict=True):
        tokens = rolled[image]
        prefix = block.num_prefix_tokens
        if point is not None:
            row = tokens[prefix + _index_at(point, block.grid, block.stride)]
        else:
            row = tokens[0] if prefix else tokens.mean(axis=0)
        values = row[first.num_prefix_tokens :].reshape(first.grid)
        rows.setdefault(block.group, []).append(overlay(tile, values, first.stride, pixels.shape[:2]))
    columns = [f"block {number}" for number in range(1, max(map(len, rows.values())) + 1)]
    return Mosaic(title, list(rows), columns, list(rows.values())).draw()


def draw_words(taps: Taps, image: int, pixels: np.ndarray, title: str, point: tuple[float, float]) -> Figure:
    """The inner transformer within one sentence: a row for each block that has one, a column for each head.

    A tile holds as many small maps as the sentence has words, each at its word's place: where that word looks.

    Args:
        taps: of a network with words.
        point: pixel (x, y) in the sentence.
        The others: see `draw_attention`.
    """
    layers = [layer for layer in taps.layers if layer.inner_attention is not None]
    most_heads = max(layer.inner_attention.shape[2] for layer in layers)
    rows = []
    for layer in layers:
        weights = layer.inner_attention[image, _index_at(point, layer.grid, layer.stride)]  # h M M
        tiles = [word_tile(weights.mean(axis=0)), *(word_tile(head) for head in weights)]
        place = _outlined(image_tile(pixels, side=len(tiles[0])), point, layer.stride, pixels.shape[:2])
        rows.append([_fitted(place, tiles[0].shape), *tiles])
    columns = ["sentence", "mean", *(f"head {number}" for number in range(1, most_heads + 1))]
    return Mosaic(title, [layer.name for layer in layers], columns, rows).draw()


def word_tile(weights: np.ndarray) -> np.ndarray:
    """(M, M) -> a tile: the map of each word at the word's place, each relative to its own largest weight."""
    side = round(len(weights) ** 0.5)
    cell = max(1, (TILE_SIDE - (side - 1) * 2) // side**2)
    maps = (weights / weights.max(axis=1, keepdims=True)).reshape(side, side, side, side)
    tile = np.ones((side * (side * cell + 2) - 2, side * (side * cell + 2) - 2, 3))
    for row in range(side):
        for column in range(side):
            top, left = row * (side * cell + 2), column * (side * cell + 2)
            small = heat(maps[row, column]).repeat(cell, axis=0).repeat(cell, axis=1)
            tile[top : top + side * cell, left : left + side * cell] = small
    return tile


def _index_at(point: tuple[float, float], grid: tuple[int, int], stride: int) -> int:
    row, column = min(int(point[1] // stride), grid[0] - 1), min(int(point[0] // stride), grid[1] - 1)
    return row * grid[1] + column


def _outlined(tile: np.ndarray, point: tuple[float, float], stride: int, image_size: tuple[int, int]) -> np.ndarray:
    """The tile with a frame around the square of `stride` pixels that holds `point`."""
    factor = max(tile.shape[:2]) / max(image_size)
    top, left = (int(int(value // stride) * stride * factor) for value in (point[1], point[0]))
    bottom, right = (
        min(round(low + stride * factor), size) for low, size in zip((top, left), tile.shape, strict=False)
    )
    framed = tile.copy()
    for colour, inset in (((1, 1, 1), 0), ((0, 0.45, 0.85), 1)):
        box = framed[top + inset : bottom - inset, left + inset : right - inset]
        for edge in (box[:1], box[-1:], box[:, :1], box[:, -1:]):
            edge[...] = colour
    return framed


def _fitted(tile: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The tile on white, cut or filled to `shape`."""
    fitted = np.ones(shape)
    height, width = min(tile.shape[0], shape[0]), min(tile.shape[1], shape[1])
    fitted[:height, :width] = tile[:height, :width]
    return fitted
