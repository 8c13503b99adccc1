"""What makes a detector's input of an image with boxes, as mmdetection does it (Resize, RandomFlip, Normalize, Pad).

An image is resized with its aspect ratio, perhaps mirrored, normalised, and laid at the top left of a canvas whose rest
is 0, so that all images of a batch have one shape. Sizes are (height, width) in pixels; scale factors are (of the
width, of the height). Boxes are (n, 4) float32, x0 y0 x1 y1 in pixels, x1 and y1 not included (no + 1).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..errors import UserError
from .resampling import Neighbours, interpolate, look_up
from .transforms import draw_flip, normalize

CHANNELS = 3
ROWS_AT_ONCE = 32
WEIGHT_BITS = 11  # of the weights in OpenCV's bilinear resize of 8-bit images


def resized_size(size: tuple[int, int], target: tuple[int, int]) -> tuple[tuple[int, int], tuple[float, float]]:
    """The largest size with the aspect ratio of `size` within `target` = (longer side, shorter side).

    The factor is min(long / longer side, short / shorter side), a new side int(side * factor + 0.5), at least 1.

    Returns:
        (new height, new width), and (new width / width, new height / height): the two differ by what was rounded.
    """
    height, width = size
    factor = min(target[0] / max(size), target[1] / min(size))
    new_height, new_width = (max(1, int(side * factor + 0.5)) for side in size)
    return (new_height, new_width), (new_width / width, new_height / height)


def resize_image(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear without antialiasing, pixel centres at halves: (h, w, C) uint8 -> (*size, C) uint8.

    In whole numbers, rounded where OpenCV's INTER_LINEAR rounds, so that it differs from that by 1 in few pixels.
    """
    if pixels.shape[:2] == size:
        return pixels
    rows, columns = (_neighbours(old, new) for old, new in zip(pixels.shape[:2], size, strict=True))
    result = interpolate(pixels, rows, columns)
    return _interpolate(pixels, rows, columns) if result is None else result


def _interpolate(pixels: np.ndarray, rows_between: Neighbours, columns_between: Neighbours) -> np.ndarray:
    """The same without a compiled library."""
    (height, _, channels), size = pixels.shape, (len(rows_between.first), len(columns_between.first))
    row_length = size[1] * channels
    upper, lower, upper_weight, lower_weight = rows_between
    left, right, left_weight, right_weight = columns_between
    rows, places = np.unique(np.stack([upper, lower]), return_inverse=True)  # of a large image few are needed
    upper, lower = places.reshape(2, -1)
    left, right = ((at[:, None] * channels + np.arange(channels)).ravel() for at in (left, right))
    left_weight, right_weight = (weight.repeat(channels) for weight in (left_weight, right_weight))
    upper_weight, lower_weight = upper_weight[:, None], lower_weight[:, None]

    flat = pixels.reshape(height, -1)
    across = np.empty((len(rows), row_length), np.int32)
    for block in blocks(len(rows)):
        near = flat[rows[block]].astype(np.int32)
        values, beside = across[block], near.take(right, axis=1, mode="clip")
        near.take(left, axis=1, out=values, mode="clip")
        values *= left_weight
        beside *= right_weight
        values += beside
        values >>= 4
    result = np.empty((size[0], row_length), np.uint8)
    for block in blocks(size[0]):
        values, below = across.take(upper[block], axis=0), across.take(lower[block], axis=0)
        values *= upper_weight[block]
        values >>= 16
        below *= lower_weight[block]
        below >>= 16
        values += below
        values += 2
        values >>= 2
        result[block] = values
    return result.reshape(*size, channels)


def blocks(count: int) -> Iterator[slice]:
    """Parts of `count` rows, so small that what is done to one stays in the processor's cache."""
    return (slice(begin, min(begin + ROWS_AT_ONCE, count)) for begin in range(0, count, ROWS_AT_ONCE))


def _neighbours(old: int, new: int) -> Neighbours:
    """Those of `new` places among `old`; weights are of 2 ** WEIGHT_BITS."""
    at = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    first = np.floor(at)
    share = at - first
    share[(first < 0) | (first >= old - 1)] = 0
    low = np.clip(first.astype(np.int64), 0, old - 1)
    weights = (np.rint(part * np.float32(1 << WEIGHT_BITS)).astype(np.int32) for part in (1 - share, share))
    return Neighbours(low, np.minimum(low + 1, old - 1), *weights)


def resize_masks(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Nearest: place i of the new takes floor(i / factor) of the old. (n, h, w) -> (n, *size), any type."""
    rows, columns = (
        np.minimum(np.floor(np.arange(new) * (1 / (new / old))).astype(np.int64), old - 1)
        for old, new in zip(masks.shape[1:], size, strict=True)
    )
    return masks[:, rows[:, None], columns]


def resize_boxes(boxes: np.ndarray, scale: tuple[float, float], size: tuple[int, int]) -> np.ndarray:
    """Scales boxes and clips them to the resized image of `size`."""
    height, width = size
    scaled = boxes * np.array([*scale, *scale], np.float32)
    return np.clip(scaled, 0, np.array([width, height, width, height], np.float32))


def flip_boxes(boxes: np.ndarray, width: int) -> np.ndarray:
    """Mirrors left and right in an image of `width` pixels."""
    x0, y0, x1, y1 = boxes.T
    return np.stack([width - x1, y0, width - x0, y1], axis=1)


def pad_to(values: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    """(..., h, w) -> (..., *canvas), with 0 at the right and at the bottom."""
    height, width = values.shape[-2:]
    padded = np.empty((*values.shape[:-2], *canvas), values.dtype)
    padded[..., :height, :width] = values
    clear_beside(padded, (height, width))
    return padded


def clear_beside(values: np.ndarray, size: tuple[int, int]) -> None:
    """Sets a canvas (..., H, W) to 0 beside an image of `size` at its top left: normalised, that is the mean."""
    height, width = size
    values[..., :height, width:] = 0
    values[..., height:, :] = 0


@dataclass(frozen=True)
class Placed:
    """An image on its canvas.

    Attributes:
        values: (3, *canvas) float32, normalised.
        boxes: (n, 4) float32 in pixels of the canvas, clipped to the image.
        size: of the image on the canvas.
        scale: factors (of the width, of the height) by which the image was resized.
        is_flipped: whether it was mirrored after that.
        masks: (n, *size) uint8 of the boxes' objects; None where none were given.
    """

    values: np.ndarray
    boxes: np.ndarray
    size: tuple[int, int]
    scale: tuple[float, float]
    is_flipped: bool
    masks: np.ndarray | None = None


class DetectionTransform:
    """Resize, random horizontal flip, normalisation, canvas.

    The canvas of an image higher than wide is `canvas` with its sides exchanged. Every image fits: its short side is at
    most one of `short_sides`, its long side at most `long_side`.

    Attributes:
        canvas: (height, width).
        canvases: those that images can get: that one, and if it is no square, the one with exchanged sides.

    Args:
        canvas: (height, width) in pixels, not higher than wide.
        short_sides: what the short side is resized to, at random one of them in training (multi-scale), otherwise the
            largest; such as (800,), (480, 640, 800) or range(640, 801).
        flip_prob: probability of the flip in training.
        mean, std: three values each, for RGB 0 .. 1.
        long_side: bound of the long side; the canvas's width when None.

    Raises:
        UserError: a value outside what is said here, or a side that does not fit into the canvas.
    """

    def __init__(
        self,
        *,
        canvas: tuple[int, int],
        short_sides: Sequence[int],
        flip_prob: float,
        mean: Sequence[float],
        std: Sequence[float],
        long_side: int | None = None,
    ) -> None:
        if len(canvas) != 2 or not all(map(_is_side, canvas)) or canvas[0] > canvas[1]:
            raise UserError(
                f"canvas must be (height, width) in pixels, not higher than wide, got {_listed(canvas)}; images that "
                "are higher than wide get its sides exchanged"
            )
        height, width = self.canvas = (int(canvas[0]), int(canvas[1]))
        self.canvases = [self.canvas] if height == width else [self.canvas, (width, height)]
        if not len(short_sides) or not all(map(_is_side, short_sides)) or max(short_sides) > height:
            raise UserError(
                f"short_sides must be one or more sides from 1 to the canvas's height of {height} pixels, got "
                f"{_listed(short_sides)}"
            )
        long_side = width if long_side is None else long_side
        if not _is_side(long_side) or not max(short_sides) <= long_side <= width:
            raise UserError(
                f"long_side must be from the largest short side, {max(short_sides)}, to the canvas's width, {width}, "
                f"got {long_side}"
            )
        if not 0 <= flip_prob <= 1:
            raise UserError(f"flip_prob must be from 0 to 1, got {flip_prob}")
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != CHANNELS or not np.all(np.isfinite(values)):
                raise UserError(f"{name} must have a finite value for each of R, G and B, got {_listed(values)}")
        if min(std) <= 0:
            raise UserError(f"std must be positive, got {_listed(std)}")
        self._short_sides, self._long_side, self._flip_prob = short_sides, long_side, flip_prob
        levels = np.arange(256, dtype=np.uint8)[:, None, None].repeat(CHANNELS, axis=2)  # (256, 1, 3)
        shape = (CHANNELS, 1, 1)
        mean, std = np.asarray(mean, np.float32).reshape(shape), np.asarray(std, np.float32).reshape(shape)
        self._normalized = np.ascontiguousarray(normalize(levels, mean, std)[..., 0])  # (3, 256) of each value

    def canvas_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """The canvas of an image of `size`."""
        return self.canvases[-1] if size[0] > size[1] else self.canvas

    def __call__(
        self,
        image: Image.Image,
        boxes: np.ndarray,
        rng: np.random.Generator | None = None,
        out: np.ndarray | None = None,
        masks: np.ndarray | None = None,
    ) -> Placed:
        """Places an image.

        Args:
            image: RGB.
            boxes: in pixels of the image.
            rng: decides in training; None for evaluation.
            out: (3, *canvas_of(size)) float32 where `values` shall be; new memory when None.
            masks: (n, h, w) uint8 of the image, which are placed with it.

        Raises:
            ValueError: masks of another size than the image's.
        """
        old = (image.height, image.width)
        if masks is not None and masks.shape[1:] != old:
            raise ValueError(f"masks must be of the image's {old[0]} x {old[1]} pixels, got {masks.shape}")
        if rng is None:
            short_side, is_flipped = max(self._short_sides), False
        else:
            short_side = self._short_sides[int(rng.integers(len(self._short_sides)))]
            is_flipped = draw_flip(rng, self._flip_prob)
        size, scale = resized_size(old, (self._long_side, short_side))
        pixels = resize_image(np.asarray(image), size)  # (h, w, 3)
        boxes = resize_boxes(boxes, scale, size)
        masks = None if masks is None else resize_masks(masks, size)
        if is_flipped:
            pixels, boxes = pixels[:, ::-1], flip_boxes(boxes, size[1])
            masks = None if masks is None else masks[:, :, ::-1]
        values = np.empty((CHANNELS, *self.canvas_of(old)), np.float32) if out is None else out
        if not look_up(pixels, self._normalized, values):
            for block in blocks(size[0]):
                for channel, table in enumerate(self._normalized):
                    values[channel, block, : size[1]] = table.take(pixels[block, :, channel], mode="clip")
        clear_beside(values, size)
        return Placed(values, boxes, size, scale, is_flipped, masks)


def _is_side(value: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and value > 0


def _listed(values: Sequence[float]) -> str:
    return str(values if isinstance(values, range) else list(values))
