"""Random erasing in timm 0.3's mode 'pixel', count 1: a box of a normalised image becomes noise.

Source: Zhong et al., "Random Erasing Data Augmentation", arXiv 1708.04896. The box covers 2 % to 1/3 of the image and
is always smaller than it in both directions; its aspect ratio (height / width) is log-uniform in 0.3 .. 1 / 0.3.
"""

import math

import numpy as np

from ..errors import UserError

MIN_AREA, MAX_AREA = 0.02, 1 / 3
MIN_ASPECT = 0.3
ATTEMPTS = 10


class RandomErasing:
    """Fills a random box with N(0, 1), drawn for each pixel and channel.

    Args:
        probability: of erasing an image.

    Raises:
        UserError: a probability outside 0 .. 1.
    """

    def __init__(self, probability: float) -> None:
        if not 0 <= probability <= 1:
            raise UserError(f"erase_prob must be from 0 to 1, got {probability}")
        self._probability = probability

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> None:
        """Erases in place; `pixels` is (C, H, W) float32, normalised."""
        if rng.random() >= self._probability:
            return
        box = draw_box(rng, pixels.shape[1:])
        if box is not None:
            left, top, right, bottom = box
            noise = rng.standard_normal((len(pixels), bottom - top, right - left), dtype=np.float32)
            pixels[:, top:bottom, left:right] = noise


def draw_box(rng: np.random.Generator, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Draws up to ten boxes for an image of `size` (height, width) and puts the first that fits at a uniform place.

    Returns:
        left, top, right, bottom in pixels, or None if no box fits.
    """
    height, width = size
    log_aspect = math.log(MIN_ASPECT)
    for _ in range(ATTEMPTS):
        area = (MIN_AREA + (MAX_AREA - MIN_AREA) * rng.random()) * height * width
        aspect = math.exp(log_aspect - 2 * log_aspect * rng.random())
        box_height, box_width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if box_height < height and box_width < width:
            top, left = int(rng.integers(height - box_height + 1)), int(rng.integers(width - box_width + 1))
            return left, top, left + box_width, top + box_height
    return None
