"""What makes a network's input of a Pillow image, as timm 0.3 does it (and torchvision).

Every step is a function of its own; the random ones take their draws from a `np.random.Generator`. Sizes are
(height, width) in pixels, except where Pillow's (width, height) is named.
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..errors import UserError
from .augmix import AugMix
from .color_jitter import ColorJitter
from .rand_augment import RandAugment
from .reduced_decoding import Size
from .resampling import resize
from .three_augment import ThreeAugment

CROP_ATTEMPTS = 10
SPARE = 2
"""How many times the sides of the result a crop of a reduced image has at least."""
MAX_ELONGATION = 64
MODES = {1: "L", 3: "RGB"}
RANDOM_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Converts to grey ("L") or "RGB"; an image that is so already is not copied."""
    return image if image.mode == mode else image.convert(mode)


def resize_size(size: tuple[int, int], crop_pct: float) -> tuple[int, int]:
    """The size that an image must cover before the centre crop: floor(side / crop_pct), so 224 / 0.9 -> 248."""
    height, width = size
    return math.floor(height / crop_pct), math.floor(width / crop_pct)


def resize_to_cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resizes (bicubic, antialiased) to the smallest image of the same aspect ratio that covers `size`.

    One side gets exactly its target, the other int(target * long / short) as in torchvision; for a square `size` this
    is "short side to `size`". For rectangles timm distorts the image instead; covering keeps its aspect ratio.
    """
    height, width = size
    if height * image.width >= width * image.height:
        return resize(image, (int(height * image.width / image.height), height), Image.Resampling.BICUBIC)
    return resize(image, (width, int(width * image.height / image.width)), Image.Resampling.BICUBIC)


def cut_elongated(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Keeps the middle of an image that, resized to cover `size`, would be over 64 times as long as needed.

    Only so few of its pixels reach the centre crop, and the resized image might not fit into memory.
    """
    height, width = size
    longest_height = math.ceil(MAX_ELONGATION * height * image.width / width)
    longest_width = math.ceil(MAX_ELONGATION * width * image.height / height)
    return center_crop(image, (min(image.height, longest_height), min(image.width, longest_width)))


def center_crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Cuts out the middle; a half pixel is rounded to the even offset, as in torchvision (12.5 -> 12, 13.5 -> 14)."""
    height, width = size
    top, left = round((image.height - height) / 2), round((image.width - width) / 2)
    return image.crop((left, top, left + width, top + height))


def draw_crop(
    rng: np.random.Generator, size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Draws the box of a random crop from an image of `size`.

    Up to ten times: an area share uniform in `scale`, an aspect ratio (width / height) log-uniform in `ratio`; the
    first box that fits (and has a pixel) is put at a uniform place. If none does: `central_crop`.

    Returns:
        left, top, right, bottom in pixels.
    """
    height, width = size
    log_low, log_high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(CROP_ATTEMPTS):
        area = (scale[0] + (scale[1] - scale[0]) * rng.random()) * height * width
        aspect = math.exp(log_low + (log_high - log_low) * rng.random())
        crop_width, crop_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top = int(rng.integers(height - crop_height + 1))
            left = int(rng.integers(width - crop_width + 1))
            return left, top, left + crop_width, top + crop_height
    return central_crop(size, ratio)


def central_crop(size: tuple[int, int], ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    """The largest middle box of an image of `size` with an aspect ratio in `ratio`: left, top, right, bottom."""
    height, width = size
    crop_height, crop_width = height, width
    if width / height < ratio[0]:
        crop_height = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        crop_width = max(1, round(height * ratio[1]))
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    return left, top, left + crop_width, top + crop_height


def scaled_box(box: tuple[int, int, int, int], size: Size, own: Size) -> tuple[int, int, int, int]:
    """A box in an image of `size`, in pixels of the same image resized to `own`: left, top, right, bottom."""
    (height, width), (own_height, own_width) = size, own
    left, top, right, bottom = box
    across, down = own_width / width, own_height / height
    return round(left * across), round(top * down), round(right * across), round(bottom * down)


def draw_filter(rng: np.random.Generator) -> Image.Resampling:
    """Bilinear or bicubic, with equal probability."""
    return RANDOM_FILTERS[int(rng.integers(len(RANDOM_FILTERS)))]


def crop_and_resize(
    image: Image.Image, box: tuple[int, int, int, int], size: tuple[int, int], resampling: Image.Resampling
) -> Image.Image:
    """Cuts `box` out and resizes it to `size`; pixels outside the box have no influence."""
    height, width = size
    return resize(image, (width, height), resampling, box)


def draw_flip(rng: np.random.Generator, probability: float) -> bool:
    """Whether to flip."""
    return bool(rng.random() < probability)


def flip(image: Image.Image) -> Image.Image:
    """Mirrors left and right."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def normalize(
    pixels: Image.Image | np.ndarray, mean: np.ndarray, std: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """(value / 255 - mean) / std, each operation in float32.

    Args:
        pixels: 8 bits a channel: a grey or RGB image, or an array (H, W) or (H, W, C).
        mean, std: (C, 1, 1) float32.
        out: where the result goes, (C, H, W) float32; a new array when None.

    Returns:
        (C, H, W) float32, contiguous where it is new.
    """
    pixels = np.asarray(pixels)
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # (C, H, W)
    values = np.empty(pixels.shape, np.float32) if out is None else out
    values[:] = pixels
    values /= np.float32(255)
    values -= mean
    values /= std
    return values


class EvalTransform:
    """Resize to cover `image_size` / `crop_pct`, centre crop, normalise.

    Attributes:
        size: (height, width) of the result.
        resize_size: (height, width) covered before the crop.

    Args:
        image_size: side or (height, width) of the network's input.
        mean, std: one value per channel, for pixel values 0 .. 1.
        in_channels: 3 (RGB) or 1 (grey, Rec. 601 luma).
        crop_pct: the crop's share of the resized short side, in (0, 1].

    Raises:
        UserError: a value outside what is said here.
    """

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        in_channels: int,
        crop_pct: float,
    ) -> None:
        self.size = _check_size(image_size)
        self._mode = _check_channels(in_channels)
        self._mean, self._std = _check_statistics(mean, std, in_channels)
        if not 0 < crop_pct <= 1:
            raise UserError(f"crop_pct must be above 0 and at most 1, got {crop_pct}")
        self.resize_size = resize_size(self.size, crop_pct)

    def __call__(self, image: Image.Image, out: np.ndarray | None = None) -> np.ndarray:
        """Pillow image -> (C, H, W) float32, written to `out` where that is given."""
        return normalize(self._cropped(image), self._mean, self._std, out)

    def pixels(self, image: Image.Image) -> np.ndarray:
        """Pillow image -> (H, W, C) uint8, before normalisation; may be read-only."""
        pixels = np.asarray(self._cropped(image))
        return pixels[..., None] if pixels.ndim == 2 else pixels  # (H, W, C)

    def _cropped(self, image: Image.Image) -> Image.Image:
        image = to_mode(image, self._mode)
        image = cut_elongated(image, self.resize_size)
        image = resize_to_cover(image, self.resize_size)
        return center_crop(image, self.size)


class TrainTransform:
    """Random resized crop (bilinear or bicubic at random), random flip, RandAugment, 3-Augment, AugMix or jitter.

    Attributes:
        size: (height, width) of the result.

    Args:
        image_size: side or (height, width) of the network's input.
        mean, std: one value per channel, for pixel values 0 .. 1.
        in_channels: 3 (RGB) or 1 (grey, Rec. 601 luma). Grey is made before the crop, but after RandAugment or colour
            jitter where these are on, because they work on colours.
        crop_scale: smallest and largest share of the image's area, in (0, 1].
        crop_ratio: smallest and largest aspect ratio, width / height.
        flip_prob: probability of the flip.
        rand_augment: policy of `RandAugment`, or None.
        color_jitter: strength of `ColorJitter`, 0 for none; has no effect beside RandAugment, as in timm, and AugMix.
        three_augment: `ThreeAugment`, with that jitter, in place of RandAugment.
        augmix: `AugMix`, without that jitter, in place of both.

    Raises:
        UserError: a value outside what is said here.
    """

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        in_channels: int,
        crop_scale: tuple[float, float],
        crop_ratio: tuple[float, float],
        flip_prob: float,
        rand_augment: str | None,
        color_jitter: float,
        three_augment: bool = False,
        augmix: bool = False,
    ) -> None:
        self.size = _check_size(image_size)
        self._mode = _check_channels(in_channels)
        self._mean, self._std = _check_statistics(mean, std, in_channels)
        if len(crop_scale) != 2 or not 0 < crop_scale[0] <= crop_scale[1] <= 1:
            raise UserError(f"crop_scale must be [low, high] with 0 < low <= high <= 1, got {list(crop_scale)}")
        if len(crop_ratio) != 2 or not 0 < crop_ratio[0] <= crop_ratio[1] < math.inf:
            raise UserError(f"crop_ratio must be [low, high] with 0 < low <= high, got {list(crop_ratio)}")
        if not 0 <= flip_prob <= 1:
            raise UserError(f"flip_prob must be from 0 to 1, got {flip_prob}")
        self._scale, self._ratio, self._flip_prob = crop_scale, crop_ratio, flip_prob
        jitter = ColorJitter(color_jitter)
        rgb_mean = tuple(mean) * (3 // in_channels)
        self._augment: RandAugment | ThreeAugment | AugMix | ColorJitter | None = jitter if color_jitter > 0 else None
        if augmix:
            self._augment = AugMix(rgb_mean)
        elif three_augment:
            self._augment = ThreeAugment(color_jitter)
        elif rand_augment is not None:
            self._augment = RandAugment(rand_augment, rgb_mean)

    def __call__(self, image: Image.Image, rng: np.random.Generator, size: Size | None = None) -> np.ndarray:
        """Pillow image -> (H, W, C) uint8, decided by `rng`; may be read-only.

        Args:
            image: perhaps of a reduced size.
            rng: decides.
            size: before it was reduced; its own when None.
        """
        image = to_mode(image, "RGB" if self._augment else self._mode)
        own = image.height, image.width
        box = draw_crop(rng, size or own, self._scale, self._ratio)
        if size is not None:
            box = scaled_box(box, size, own)
        image = crop_and_resize(image, box, self.size, draw_filter(rng))
        if draw_flip(rng, self._flip_prob):
            image = flip(image)
        if self._augment:
            image = to_mode(self._augment(image, rng), self._mode)
        pixels = np.asarray(image)
        return pixels[..., None] if pixels.ndim == 2 else pixels  # (H, W, C)

    def least_size(self, size: Size, rng: np.random.Generator) -> Size:
        """The smallest size that an image of `size` may be decoded to, if `rng` decides what `__call__` does to it: its
        crop has `SPARE` times the result's sides then, so that the resize still averages."""
        left, top, right, bottom = draw_crop(rng, size, self._scale, self._ratio)
        factor = SPARE * max(self.size[0] / (bottom - top), self.size[1] / (right - left))
        return tuple(min(side, math.ceil(factor * side)) for side in size)

    def can_reduce(self, size: Size) -> bool:
        """Whether an image of `size` is so large that `least_size` can be half of it."""
        return all(side >= 2 * SPARE * needed for side, needed in zip(size, self.size, strict=True))

    def normalize(self, pixels: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """(H, W, C) uint8, as they come from here or mixed -> (C, H, W) float32, written to `out` where that is
        given."""
        return normalize(pixels, self._mean, self._std, out)


def _check_size(image_size: int | tuple[int, int]) -> tuple[int, int]:
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise UserError(f"image_size must be a positive integer or two of them (height, width), got {image_size}")
    return size


def _check_channels(in_channels: int) -> str:
    if in_channels not in MODES:
        raise UserError(f"in_channels must be 3 (RGB) or 1 (grey) for image data, got {in_channels}")
    return MODES[in_channels]


def _check_statistics(mean: Sequence[float], std: Sequence[float], in_channels: int) -> tuple[np.ndarray, np.ndarray]:
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != in_channels or not np.all(np.isfinite(values)):
            raise UserError(f"{name} must have one finite value for each of {in_channels} channels, got {list(values)}")
    if min(std) <= 0:
        raise UserError(f"std must be positive, got {list(std)}")
    shape = (in_channels, 1, 1)
    return np.asarray(mean, np.float32).reshape(shape), np.asarray(std, np.float32).reshape(shape)
