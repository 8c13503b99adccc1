"""report.html: one file, without anything from outside, in which a person explores all attention of some images.

The weights of an image are one byte each, compressed with zlib and written as base64; the page unpacks an image when it
is chosen. A byte is round(sqrt(weight / largest of its row) * (levels - 1)). The row sums to 1, so that
weight = byte^2 / (sum of the row's bytes^2), and no scale is stored. The number of levels is the largest with which the
file stays within its limit.
"""

import base64
import html
import io
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .rollout import rollout
from .taps import LayerTaps, Taps

MOST_BYTES = 9_500_000
LEVELS = (256, 64, 32, 16, 8, 6, 4)
MOST_ROLLED_KEYS = 256
"""Tokens of the first block up to which rolled out attention tells them apart; larger grids are summed over squares."""

TEMPLATE = Path(__file__).with_name("report.html")


@dataclass(frozen=True)
class ReportImage:
    """An image of the report.

    Attributes:
        name: shown to people.
        pixels: (H, W, C) uint8, the image as the network sees it.
        top: its most probable labels with their probabilities.
    """

    name: str
    pixels: np.ndarray
    top: list[tuple[str, float]]


@dataclass(frozen=True)
class Report:
    """A page, how many of the images are in it, and with how many levels of weights."""

    page: str
    num_images: int
    levels: int


def build_report(
    title: str, description: str, taps: Taps, images: Sequence[ReportImage], most_bytes: int = MOST_BYTES
) -> Report:
    """The page for as many of the images, from the first on, as fit; of the first one in any case.

    Args:
        title: of the page.
        description: where weights and images come from.
        taps: of the images, in their order.
        images: at least one.
        most_bytes: the page's limit.
    """
    rolled = {id(block): shares for block, shares in zip(taps.blocks(), rollout(taps.blocks()), strict=True)}
    layers = [layer for layer in taps.layers if layer.attention is not None]
    first = taps.blocks()[0]
    factor = _rolled_factor(first.grid)
    shares = [None if id(x) not in rolled else sum_squares(rolled[id(x)], first, factor) for x in layers]
    pictures = [_png(image.pixels) for image in images]
    room = most_bytes - len(TEMPLATE.read_bytes()) - 200 * len(layers)
    for levels in LEVELS:
        weights, size = [], 0
        for index, picture in enumerate(pictures):
            packed = pack(_arrays(layers, shares, index), levels)
            size += len(packed) + len(picture) + 1000
            if size > room and index > 0:
                break
            weights.append(packed)
        if len(weights) == len(images) and size <= room:
            break
    has_words = any(layer.inner_attention is not None for layer in layers)
    content = {
        "levels": levels,
        "noun": "sentence" if has_words else "token",
        "size": list(images[0].pixels.shape[:2]),
        "rolledGrid": [side // factor for side in first.grid],
        "rolledStride": first.stride * factor,
        "layers": [_describe(layer, x is not None) for layer, x in zip(layers, shares, strict=True)],
        "images": [
            {"name": image.name, "top": image.top, "picture": picture, "weights": packed}
            for image, picture, packed in zip(images, pictures, weights, strict=False)
        ],
    }
    values = {
        "title": html.escape(title),
        "description": html.escape(description),
        "content": script_json(content),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], TEMPLATE.read_text(encoding="utf-8"))
    return Report(page, len(weights), levels)


def quantise(weights: np.ndarray, levels: int) -> np.ndarray:
    """Rows of weights -> uint8 from 0 to levels - 1, the square root relative to the row's largest weight."""
    largest = np.maximum(weights.max(axis=-1, keepdims=True), 1e-30)
    return np.rint(np.sqrt(weights / largest) * (levels - 1)).astype(np.uint8)


def pack(arrays: Sequence[np.ndarray], levels: int) -> str:
    """Arrays of weights, quantised, one after the other, compressed, as base64."""
    content = b"".join(quantise(array, levels).tobytes() for array in arrays)
    return base64.b64encode(zlib.compress(content, 6)).decode("ascii")


def sum_squares(shares: np.ndarray, first: LayerTaps, factor: int) -> np.ndarray:
    """Rolled out attention (B, L, tokens of the first block), summed over squares of factor x factor sentences."""
    prefix, (height, width) = first.num_prefix_tokens, first.grid
    batch, length = shares.shape[:2]
    squares = shares[:, :, prefix:].reshape(batch, length, height // factor, factor, width // factor, factor)
    return np.concatenate([shares[:, :, :prefix], squares.sum(axis=(3, 5)).reshape(batch, length, -1)], axis=2)


def script_json(content: Any) -> str:
    """JSON that nothing in it can end early inside an HTML script element."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _rolled_factor(grid: tuple[int, int]) -> int:
    """The smallest factor that divides both sides and leaves few enough squares; 1 where there is none."""
    fitting = [f for f in range(1, min(grid) + 1) if not grid[0] % f and not grid[1] % f]
    return next((f for f in fitting if grid[0] * grid[1] // f**2 <= MOST_ROLLED_KEYS), 1)


def _arrays(layers: Sequence[LayerTaps], shares: Sequence[np.ndarray | None], image: int) -> list[np.ndarray]:
    """What the page reads for an image: for each layer its attention, rolled out attention, and that of its words."""
    arrays = []
    for layer, rolled in zip(layers, shares, strict=True):
        arrays.append(layer.attention.weights[image])
        if rolled is not None:
            arrays.append(rolled[image])
        if layer.inner_attention is not None:
            arrays.append(layer.inner_attention[image])
    return arrays


def _describe(layer: LayerTaps, has_rollout: bool) -> dict[str, Any]:
    attention, inner = layer.attention, layer.inner_attention
    return {
        "name": layer.name,
        "group": layer.group,
        "grid": list(attention.query_grid),
        "stride": attention.query_stride,
        "keyGrid": list(attention.key_grid),
        "keyStride": attention.key_stride,
        "prefix": attention.num_prefix_tokens,
        "heads": attention.weights.shape[1],
        "rolled": has_rollout,
        "innerHeads": 0 if inner is None else inner.shape[2],
        "wordSide": 0 if inner is None else round(inner.shape[3] ** 0.5),
    }


def _png(pixels: np.ndarray) -> str:
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")
