"""Brightness, contrast and saturation changed at random: torchvision's `ColorJitter` without hue, as in timm 0.3."""

import math

import numpy as np
from PIL import Image, ImageEnhance

from ..errors import UserError

# A factor of 0 gives black, plain grey (the mean luma), or the grey image; 1 the image itself.
ADJUSTMENTS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


class ColorJitter:
    """All three adjustments in random order, each with a factor uniform in max(0, 1 - strength) .. 1 + strength.

    Raises:
        UserError: a negative or infinite strength.
    """

    def __init__(self, strength: float) -> None:
        if not 0 <= strength < math.inf:
            raise UserError(f"color_jitter must be a finite number, at least 0, got {strength}")
        self._low, self._high = max(0.0, 1 - strength), 1 + strength

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Image of any mode that Pillow can enhance (RGB, grey) -> image of the same mode and size."""
        for adjustment in rng.permutation(len(ADJUSTMENTS)):
            image = ADJUSTMENTS[adjustment](image).enhance(float(rng.uniform(self._low, self._high)))
        return image
