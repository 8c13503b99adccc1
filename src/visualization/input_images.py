"""The images to look at: files, folders, or a few held-out digits, as the network sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..data.digits import Digits
from ..data.read_image import read_image
from ..data.transforms import EvalTransform
from ..errors import UserError, printable
from ..prediction.predictions import Skipped, find_images
from ..weights.model_card import ModelCard

DIGITS = "digits"
"""The word that stands for held-out digits; a file of this name is ./digits."""

NUM_DIGITS = 5
MOST_IMAGES = 16
"""Their attention is held in memory together: 0.5 GB for 16 images and the largest of the networks."""


@dataclass(frozen=True)
class InputImage:
    """An image.

    Attributes:
        name: without folder and ending, and with a question mark for what cannot be printed.
        pixels: (H, W, C) uint8, resized and cropped.
        values: (C, H, W) float32, normalised.
    """

    name: str
    pixels: np.ndarray
    values: np.ndarray


def load_images(names: Sequence[str], card: ModelCard) -> tuple[list[InputImage], list[Skipped]]:
    """Reads and prepares images.

    Args:
        names: files, folders that are searched for images, or the word digits: the first held-out image of each of the
            digits 0 to 4.
        card: how images are prepared.

    Returns:
        The images, and what could not be read.

    Raises:
        UserError: there are more than 16 images, or none can be read.
    """
    transform = EvalTransform(
        image_size=card.image_size, mean=card.mean, std=card.std, in_channels=card.in_channels, crop_pct=card.crop_pct
    )
    files, skipped = find_images([name for name in names if name != DIGITS])
    count = len(files) + NUM_DIGITS * (DIGITS in names)
    if count > MOST_IMAGES:
        raise UserError(f"expected at most {MOST_IMAGES} images, got {count:,}: name those to look at")
    opened = _first_digits() if DIGITS in names else []
    for file in files:
        try:
            opened.append((printable(file.stem), read_image(file)))
        except UserError as error:
            skipped.append(Skipped(file, str(error)))
    if not opened:
        reasons = "; ".join(problem.reason for problem in skipped)
        raise UserError(f"there is no image to look at: {reasons}")
    return [InputImage(name, transform.pixels(image), transform(image)) for name, image in opened], skipped


def _first_digits() -> list[tuple[str, Image.Image]]:
    digits = Digits("val")
    labels = [digits.label(index) for index in range(len(digits))]
    return [(f"digit_{label}", digits[labels.index(label)][0]) for label in range(NUM_DIGITS)]
