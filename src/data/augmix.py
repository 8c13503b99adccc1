"""AugMix: the mean of the image and of a few chains of distortions, with random weights.

Source: Hendrycks et al., "AugMix", arXiv 1912.02781, algorithm 1 and section 3: width 3, depth 1 to 3, severity 3, and
1 for the parameters of both distributions; the nine operations are those that ImageNet-C does not contain. Each is
`RandAugment`'s of its name, translations reduced to the third of a side that the authors' code has at most. Chains are
mixed in 8 bits, rounded once at the end. The paper's consistency loss over three views of an image is not here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from .rand_augment import TRANSLATION, Step, apply

OPERATIONS = (
    "AutoContrast",
    "Equalize",
    "PosterizeIncreasing",
    "Rotate",
    "SolarizeIncreasing",
    "ShearX",
    "ShearY",
    "TranslateXRel",
    "TranslateYRel",
)
WIDTH, MAX_DEPTH, ALPHA = 3, 3, 1.0
SEVERITY = (0.1, 3.0)
"""Of an operation, uniform; 10 is the highest there is."""

MAX_TRANSLATION = 1 / 3
"""Share of a side, at the highest severity."""


class Mixture(NamedTuple):
    """What becomes of one image.

    Attributes:
        share: of the image itself, m of the paper.
        weights: of the chains, which add up to 1.
        chains: the steps of each, in their order.
    """

    share: float
    weights: Sequence[float]
    chains: Sequence[Sequence[Step]]


class AugMix:
    """The image and three chains of one to three operations on it, mixed.

    Args:
        mean: of red, green and blue, 0 .. 1; fills what rotation, shear and translation leave empty.
    """

    def __init__(self, mean: Sequence[float]) -> None:
        self._fill = tuple(min(255, max(0, round(255 * value))) for value in mean)

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """RGB image -> RGB image of the same size."""
        mixture = self.draw(rng)
        distorted = []
        for chain in mixture.chains:
            result = image
            for step in chain:
                result = apply(step, result, self._fill)
            distorted.append(result)
        return mix(image, distorted, mixture.share, mixture.weights)

    def draw(self, rng: np.random.Generator) -> Mixture:
        """The mixture for one image."""
        weights = rng.dirichlet([ALPHA] * WIDTH).tolist()
        share = float(rng.beta(ALPHA, ALPHA))
        return Mixture(share, weights, [_draw_chain(rng) for _ in range(WIDTH)])


def mix(image: Image.Image, distorted: Sequence[Image.Image], share: float, weights: Sequence[float]) -> Image.Image:
    """share * image + (1 - share) * sum of weights * distorted, rounded to whole values.

    Args:
        image: RGB.
        distorted: of the same size.
        share: of the image, 0 to 1.
        weights: of the distorted ones, which add up to 1.
    """
    chains = sum(weight * np.asarray(other, np.float32) for weight, other in zip(weights, distorted, strict=True))
    mixed = np.float32(share) * np.asarray(image, np.float32) + np.float32(1 - share) * chains
    return Image.fromarray(np.rint(mixed).clip(0, 255).astype(np.uint8))


def _draw_chain(rng: np.random.Generator) -> list[Step]:
    return [_draw_step(rng) for _ in range(int(rng.integers(1, MAX_DEPTH + 1)))]


def _draw_step(rng: np.random.Generator) -> Step:
    name = OPERATIONS[int(rng.integers(len(OPERATIONS)))]
    severity = float(rng.uniform(*SEVERITY))
    sign = 1 if rng.random() < 0.5 else -1
    if name.startswith("Translate"):
        severity *= MAX_TRANSLATION / TRANSLATION
    return Step(name, severity, sign, Image.Resampling.BILINEAR)
