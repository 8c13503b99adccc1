"""3-Augment: grey, solarized or blurred, one of them for each image.

Source: Touvron et al., DeiT III, arXiv 2204.07118, section 3.2 and figure 4; its colour jitter is `ColorJitter`'s.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from .color_jitter import ColorJitter

THRESHOLD = 128
"""Of solarization: values from here on are inverted."""

RADIUS = (0.1, 2.0)
"""Of the blur, in pixels, uniform."""


class ThreeAugment:
    """One of the three at random, then colour jitter.

    Args:
        color_jitter: strength of `ColorJitter`, 0 for none; 0.3 in the paper.
    """

    def __init__(self, color_jitter: float = 0.0) -> None:
        self._jitter = ColorJitter(color_jitter) if color_jitter > 0 else None

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """RGB image -> RGB image of the same size."""
        image = CHOICES[int(rng.integers(len(CHOICES)))](image, rng)
        return image if self._jitter is None else self._jitter(image, rng)


def _grey(image: Image.Image, _: np.random.Generator) -> Image.Image:
    return image.convert("L").convert("RGB")


def _solarize(image: Image.Image, _: np.random.Generator) -> Image.Image:
    return ImageOps.solarize(image, THRESHOLD)


def _blur(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(*RADIUS))))


CHOICES: tuple[Callable[[Image.Image, np.random.Generator], Image.Image], ...] = (_grey, _solarize, _blur)
