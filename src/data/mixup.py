"""Mixup and CutMix of a batch, in pixels of 8 bits, with the targets that belong to it: timm 0.3's mode 'batch'.

Sources: Zhang et al., "mixup", arXiv 1710.09412; Yun et al., "CutMix", arXiv 1905.04899. One draw decides for a whole
batch whether and how each image is mixed with its partner. What may surprise:

- A CutMix box is cut off at the image's edges, and its sides are even before that; lambda is corrected by the area
  that is left.
- Mixed pixels are rounded to 8 bits (half to even) before normalisation.
- Smoothing spreads over all K classes: smoothing / K everywhere and 1 - smoothing more at the label.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..errors import UserError


@dataclass(frozen=True)
class Mix:
    """How to mix two images.

    Attributes:
        lam: share of the first image, 0 .. 1; 1 leaves it as it is.
        box: CutMix: left, top, right, bottom in pixels of what comes from the second image; None: mixup.
    """

    lam: float
    box: tuple[int, int, int, int] | None = None


class Mixing:
    """Draws how to mix a batch and makes its targets.

    Attributes:
        enabled: whether images are ever mixed.

    Args:
        mixup_alpha, cutmix_alpha: lambda is Beta(alpha, alpha); 0 switches the kind off.
        probability: of mixing a batch.
        switch_probability: of CutMix instead of mixup where both are on.
        label_smoothing: in [0, 1).
        num_classes: K.

    Raises:
        UserError: a value outside what is said here.
    """

    def __init__(
        self,
        *,
        mixup_alpha: float,
        cutmix_alpha: float,
        probability: float,
        switch_probability: float,
        label_smoothing: float,
        num_classes: int,
    ) -> None:
        for name, value in (("mixup", mixup_alpha), ("cutmix", cutmix_alpha)):
            if not 0 <= value < math.inf:
                raise UserError(f"{name} must be a finite number, at least 0 (off), got {value}")
        for name, value in (("mix_prob", probability), ("mix_switch_prob", switch_probability)):
            if not 0 <= value <= 1:
                raise UserError(f"{name} must be from 0 to 1, got {value}")
        if not 0 <= label_smoothing < 1:
            raise UserError(f"label_smoothing must be at least 0 and below 1, got {label_smoothing}")
        self._mixup_alpha, self._cutmix_alpha = mixup_alpha, cutmix_alpha
        self._probability, self._switch_probability = probability, switch_probability
        self._label_smoothing, self._num_classes = label_smoothing, num_classes
        self.enabled = mixup_alpha > 0 or cutmix_alpha > 0

    def draw(self, rng: np.random.Generator, image_size: tuple[int, int]) -> Mix:
        """Decides for one batch of images of (height, width)."""
        if not self.enabled or rng.random() >= self._probability:
            return Mix(1.0)
        if self._mixup_alpha > 0 and self._cutmix_alpha > 0:
            cut = rng.random() < self._switch_probability
        else:
            cut = self._cutmix_alpha > 0
        alpha = self._cutmix_alpha if cut else self._mixup_alpha
        lam = float(rng.beta(alpha, alpha))
        if not cut:
            return Mix(lam)
        left, top, right, bottom = box = draw_box(rng, image_size, lam)
        return Mix(1 - (right - left) * (bottom - top) / (image_size[0] * image_size[1]), box)

    def targets(self, labels: np.ndarray, partner_labels: np.ndarray, mix: Mix) -> np.ndarray:
        """Labels (B,) of images and of their partners -> (B, K) float32, each row a distribution."""
        return self._smooth(labels) * mix.lam + self._smooth(partner_labels) * (1 - mix.lam)

    def _smooth(self, labels: np.ndarray) -> np.ndarray:
        off = self._label_smoothing / self._num_classes
        targets = np.full((len(labels), self._num_classes), off, np.float32)
        targets[np.arange(len(labels)), labels] = 1 - self._label_smoothing + off
        return targets


def draw_box(rng: np.random.Generator, size: tuple[int, int], lam: float) -> tuple[int, int, int, int]:
    """Draws a box of the share 1 - `lam` of an image of `size` (height, width) around a uniform pixel, then clips it.

    Returns:
        left, top, right, bottom in pixels.
    """
    height, width = size
    share = math.sqrt(1 - lam)
    half_height, half_width = int(height * share) // 2, int(width * share) // 2
    y, x = int(rng.integers(height)), int(rng.integers(width))
    return max(0, x - half_width), max(0, y - half_height), min(width, x + half_width), min(height, y + half_height)


def mix_images(first: np.ndarray, second: np.ndarray, mix: Mix) -> np.ndarray:
    """Mixes `second` into `first`, both (H, W, C) uint8; neither is changed.

    Returns:
        (H, W, C) uint8; `first` itself if there is nothing to mix.
    """
    if mix.lam == 1:
        return first
    if mix.box is not None:
        left, top, right, bottom = mix.box
        mixed = first.copy()
        mixed[top:bottom, left:right] = second[top:bottom, left:right]
        return mixed
    mixed = np.multiply(first, np.float32(mix.lam), dtype=np.float32)
    mixed += np.multiply(second, np.float32(1 - mix.lam), dtype=np.float32)
    return np.rint(mixed, out=mixed).astype(np.uint8)
