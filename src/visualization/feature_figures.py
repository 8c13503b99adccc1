"""Pictures of features: what blocks keep of an image, as single channels and as principal components in colour."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from ..errors import UserError
from .mosaic import Mosaic, image_tile, map_tile
from .taps import LayerTaps

NUM_CHANNELS = 10


def choose_blocks(blocks: Sequence[LayerTaps], numbers: Sequence[int] | None) -> list[LayerTaps]:
    """The blocks with these numbers, counted from 1; the first, the middle and the last when None (1, 6, 12 of 12).

    Raises:
        UserError: a number that the network does not have.
    """
    if numbers is None:
        numbers = sorted({1, max(1, len(blocks) // 2), len(blocks)})
    for number in numbers:
        if not 1 <= number <= len(blocks):
            raise UserError(f"blocks: the network's are counted from 1 to {len(blocks)}, got {number}")
    return [blocks[number - 1] for number in numbers]


def draw_features(
    layers: Sequence[LayerTaps], components: Sequence[np.ndarray], image: int, pixels: np.ndarray, title: str
) -> Figure:
    """A row for each layer: the image, its principal components as colour, and the first ten channels.

    Each channel is drawn from its smallest to its largest value.

    Args:
        layers: whose tokens to draw.
        components: for each what `principal_colors` gives.
        image: index of the image in the batch.
        pixels: (H, W, C) uint8, the image as the network sees it.
        title: of the picture.
    """
    tile, rows = image_tile(pixels), []
    for layer, colors in zip(layers, components, strict=True):
        channels = [_grey(channel) for channel in layer.maps()[image, :NUM_CHANNELS]]
        size = pixels.shape[:2]
        rows.append([tile, *(map_tile(values, layer.stride, size) for values in (colors[image], *channels))])
    columns = ["image", "components", *(f"channel {number}" for number in range(1, NUM_CHANNELS + 1))]
    return Mosaic(title, [layer.name for layer in layers], columns[: max(map(len, rows))], rows).draw()


def _grey(channel: np.ndarray) -> np.ndarray:
    spread = np.ptp(channel)
    return colormaps["viridis"]((channel - channel.min()) / (spread if spread > 0 else 1))[..., :3]


def principal_colors(maps: np.ndarray) -> np.ndarray:
    """The first three principal components of the tokens of all images as red, green and blue.

    Images share the components, so that a colour means the same in all of them. Each component is scaled from its 2nd
    to its 98th percentile; its sign, which is arbitrary, makes the entry of the channel that weighs most positive.

    Args:
        maps: (B, D, height, width).

    Returns:
        (B, height, width, 3) of 0 .. 1; components that there are not are 0.5.
    """
    batch, dim, height, width = maps.shape
    tokens = maps.transpose(0, 2, 3, 1).reshape(-1, dim).astype(np.float64)
    tokens = tokens - tokens.mean(axis=0)
    _, strengths, directions = np.linalg.svd(tokens, full_matrices=False)
    colors = np.full((len(tokens), 3), 0.5)
    for index in range(min(3, len(strengths))):
        if strengths[index] < 1e-9 * max(strengths[0], 1e-30):
            break
        direction = directions[index] * np.sign(directions[index][np.abs(directions[index]).argmax()])
        values = tokens @ direction
        low, high = np.percentile(values, (2, 98))
        colors[:, index] = np.clip((values - low) / max(high - low, 1e-30), 0, 1)
    return colors.reshape(batch, height, width, 3)
