"""RandAugment with timm 0.3's 'increasing' operations, which distort more the higher their magnitude.

Source: Cubuk et al., "RandAugment", arXiv 1909.13719; arguments, probabilities and noise as in timm 0.3. What may
surprise:

- Each operation drawn is skipped with probability 1/2, so 'n2' changes an image once on average.
- Posterize keeps 4 - int(4 * magnitude / 10) bits: one at the usual magnitude 9, none (a black image) at 10.
- Solarize inverts from 256 - int(256 * magnitude / 10) on: from 26 at magnitude 9.
- Translations are shares of the image's own side and need not be whole pixels. timm's `translate_const`,
  int(0.45 * side), is the limit of other operations, which no policy here uses.
- timm takes any 'inc<number>', even 'inc0', for the increasing operations; here it is 'inc1' or an error.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageOps

from ..errors import UserError
from .resampling import rotate, transform

OPERATIONS = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "PosterizeIncreasing",
    "SolarizeIncreasing",
    "SolarizeAdd",
    "ColorIncreasing",
    "ContrastIncreasing",
    "BrightnessIncreasing",
    "SharpnessIncreasing",
    "ShearX",
    "ShearY",
    "TranslateXRel",
    "TranslateYRel",
)
APPLY_PROBABILITY = 0.5
MAX_MAGNITUDE = 10
TRANSLATION = 0.45  # of a side, at that magnitude
FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)

SECTIONS = {"m": "[0-9]+", "n": "[0-9]+", "mstd": r"[0-9]+(\.[0-9]+)?", "inc": "1"}
SYNTAX = (
    f"expected 'rand-m<magnitude, 0 to {MAX_MAGNITUDE}>-n<operations an image, 2 if left out>"
    "-mstd<standard deviation of the magnitude, 0 if left out>-inc1', for example 'rand-m9-mstd0.5-inc1'"
)


class Step(NamedTuple):
    """An operation to apply: magnitude 0 .. 10; sign and filter count only where the operation has a use for them."""

    name: str
    magnitude: float
    sign: int
    resampling: Image.Resampling


class RandAugment:
    """Draws `num_operations` operations with replacement and applies each with probability 1/2.

    Attributes:
        magnitude, num_operations, magnitude_std: what the policy says.

    Args:
        policy: sections in any order, such as 'rand-m9-mstd0.5-inc1'.
        mean: of red, green and blue, 0 .. 1; fills what rotation, shear and translation leave empty.

    Raises:
        UserError: a policy that is not written so.
    """

    def __init__(self, policy: str, mean: Sequence[float]) -> None:
        self.magnitude, self.num_operations, self.magnitude_std = parse_policy(policy)
        self._fill = tuple(min(255, max(0, round(255 * value))) for value in mean)

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """RGB image -> RGB image of the same size."""
        for step in self.draw(rng):
            image = apply(step, image, self._fill)
        return image

    def draw(self, rng: np.random.Generator) -> list[Step]:
        """The steps for one image, from none to `num_operations`."""
        steps = []
        for operation in rng.integers(len(OPERATIONS), size=self.num_operations):
            if rng.random() < APPLY_PROBABILITY:
                magnitude = min(MAX_MAGNITUDE, max(0.0, rng.normal(self.magnitude, self.magnitude_std)))
                sign = 1 if rng.random() < 0.5 else -1
                steps.append(Step(OPERATIONS[operation], magnitude, sign, FILTERS[rng.integers(len(FILTERS))]))
        return steps


def parse_policy(policy: str) -> tuple[int, int, float]:
    """'rand-m9-mstd0.5-inc1' -> magnitude 9, 2 operations, standard deviation 0.5."""
    prefix, *sections = policy.split("-")
    values: dict[str, str] = {}
    for section in sections:
        key = section.rstrip("0123456789.")
        value = section[len(key) :]
        if key not in SECTIONS or key in values or not re.fullmatch(SECTIONS[key], value):
            raise UserError(f"rand_augment {policy!r} has the section {section!r}; {SYNTAX}")
        values[key] = value
    if prefix != "rand" or not {"m", "inc"} <= values.keys():
        raise UserError(f"rand_augment {policy!r} is not complete; {SYNTAX}")
    magnitude, num_operations, magnitude_std = int(values["m"]), int(values.get("n", 2)), float(values.get("mstd", 0))
    if magnitude > MAX_MAGNITUDE or num_operations < 1:
        raise UserError(f"rand_augment {policy!r} has a value out of range; {SYNTAX}")
    return magnitude, num_operations, magnitude_std


def apply(step: Step, image: Image.Image, fill: tuple[int, ...]) -> Image.Image:
    """Applies one step to an RGB image; `fill` is the colour of pixels from outside."""
    share = step.magnitude / MAX_MAGNITUDE  # 0 .. 1
    signed = step.sign * share
    match step.name:
        case "AutoContrast":
            return ImageOps.autocontrast(image)
        case "Equalize":
            return ImageOps.equalize(image)
        case "Invert":
            return ImageChops.invert(image)
        case "Rotate":
            return rotate(image, 30 * signed, step.resampling, fill)
        case "PosterizeIncreasing":
            return posterize(image, 4 - int(4 * share))
        case "SolarizeIncreasing":
            return ImageOps.solarize(image, 256 - int(256 * share))
        case "SolarizeAdd":
            return solarize_add(image, int(110 * share))
        case "ColorIncreasing":
            return ImageEnhance.Color(image).enhance(1 + 0.9 * signed)
        case "ContrastIncreasing":
            return ImageEnhance.Contrast(image).enhance(1 + 0.9 * signed)
        case "BrightnessIncreasing":
            return ImageEnhance.Brightness(image).enhance(1 + 0.9 * signed)
        case "SharpnessIncreasing":
            return ImageEnhance.Sharpness(image).enhance(1 + 0.9 * signed)
        case "ShearX":
            matrix = (1, 0.3 * signed, 0, 0, 1, 0)
        case "ShearY":
            matrix = (1, 0, 0, 0.3 * signed, 1, 0)
        case "TranslateXRel":
            matrix = (1, 0, TRANSLATION * signed * image.width, 0, 1, 0)
        case "TranslateYRel":
            matrix = (1, 0, 0, 0, 1, TRANSLATION * signed * image.height)
        case _:
            raise ValueError(f"unknown operation {step.name!r}: expected one of {', '.join(OPERATIONS)}")
    return transform(image, matrix, step.resampling, fill)


def posterize(image: Image.Image, bits: int) -> Image.Image:
    """Keeps the highest `bits` bits, 0 .. 8; Pillow's own refuses 0, which older ones, and timm with them, took."""
    mask = 256 - 2 ** (8 - bits)
    return image.point([value & mask for value in range(256)] * 3)


def solarize_add(image: Image.Image, addend: int) -> Image.Image:
    """Adds to values below 128."""
    return image.point([min(255, value + addend) if value < 128 else value for value in range(256)] * 3)
