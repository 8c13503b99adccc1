"""Predictions drawn on copies of the images: below each a panel with labels, bars and probabilities, or what else is
drawn.

Copies are PNG files in a folder of their own. They lie in it as the images lie in the nearest folder above all of them,
so that images of one name stay apart, and have names of their own, so that no image is ever written over. Where such a
name would be too long for a file, its end is replaced by a digest.
"""

import hashlib
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..data.read_image import read_image
from ..errors import UserError, printable
from ..files.output_file import LONGEST_NAME, check_output_folder
from ..files.whole_file import make_folder, write_whole
from ..terminal.fonts import choose_font, find_fonts, shorten
from .predictions import Prediction

ENDING = ".prediction.png"
SMALLEST, LARGEST = 256, 1024
"""The longer side of an image in its copy: smaller images are enlarged, larger ones reduced (pixels)."""

PANEL_WIDTH = 360
"""At least; a narrower image stands in the middle above."""

_BACKGROUND, _TEXT, _TRACK, _FIRST, _OTHERS = "white", "#222222", "#e8ecf1", "#2a6fbb", "#9db8d6"


class Drawings:
    """Writes the copies.

    Attributes:
        fonts: of this computer.

    Args:
        folder: where to; made with the first copy.
        files: all images that may be drawn.

    Raises:
        UserError: `folder` cannot be used, or a copy would replace one of `files`.
    """

    def __init__(self, folder: str | Path, files: Sequence[Path]) -> None:
        self._names = _names(Path(folder), files)
        self.fonts = find_fonts()
        check_output_folder(folder, "draw into")
        images = {os.path.realpath(file) for file in files}
        for target in self._names.values():
            if os.path.realpath(target) in images:
                raise UserError(f"{target} is one of the images and would be replaced; draw into another folder")

    def draw(self, prediction: Prediction) -> Path:
        """Writes a copy with labels, as `write` does.

        Raises:
            UserError: it cannot be written, or the image not be read again.
        """
        picture = draw_prediction(read_image(prediction.file), prediction.top, self.fonts)
        return self.write(prediction.file, picture)

    def write(self, file: Path, picture: Image.Image) -> Path:
        """Writes `picture` as the copy of an image, whole or not at all, and returns its name.

        Raises:
            UserError: it cannot be written.
        """
        target = self._names[file]
        png = BytesIO()
        picture.save(png, "PNG")
        make_folder(target.parent)
        write_whole(target, png.getvalue())
        return target


def draw_prediction(
    image: Image.Image, top: Sequence[tuple[str, float]], fonts: Sequence[ImageFont.FreeTypeFont]
) -> Image.Image:
    """A copy of an image, between 256 and 1024 pixels long, over a panel with a line for each label.

    Args:
        image: RGB.
        top: labels and their probabilities.
        fonts: to choose from, in whatever size; see `choose_font`.
    """
    image = _fit(image)
    width = max(image.width, PANEL_WIDTH)
    font = choose_font(fonts, "".join(label for label, _ in top)).font_variant(size=max(15, width // 36))
    gap, line = round(0.6 * font.size), round(1.7 * font.size)
    picture = Image.new("RGB", (width, image.height + gap + line * len(top) + gap), _BACKGROUND)
    picture.paste(image, ((width - image.width) // 2, 0))
    draw = ImageDraw.Draw(picture)
    number_width = round(draw.textlength("100.0 %", font))
    label_width = round(0.55 * (width - number_width - 4 * gap))
    left, right = 2 * gap + label_width, width - 2 * gap - number_width
    for row, (label, share) in enumerate(top):
        middle = image.height + gap + line * row + line // 2
        above, below = middle - round(0.35 * font.size), middle + round(0.35 * font.size)
        draw.text((gap, middle), shorten(printable(label), font, label_width), _TEXT, font, anchor="lm")
        draw.rectangle((left, above, right, below), _TRACK)
        if round(share * (right - left)) > 0:
            draw.rectangle((left, above, left + round(share * (right - left)), below), _OTHERS if row else _FIRST)
        draw.text((width - gap, middle), f"{100 * share:.1f} %", _TEXT, font, anchor="rm")
    return picture


def _fit(image: Image.Image) -> Image.Image:
    """Enlarged by a whole factor, so that pixels stay visible, or reduced."""
    longest = max(image.size)
    if longest > LARGEST:
        size = (max(1, round(side * LARGEST / longest)) for side in image.size)
        return image.resize(tuple(size), Image.Resampling.LANCZOS, reducing_gap=3.0)
    factor = max(1, -(-SMALLEST // longest))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _names(folder: Path, files: Sequence[Path]) -> dict[Path, Path]:
    above = os.path.commonpath([os.path.abspath(file.parent) for file in files])
    targets = (Path(folder, os.path.relpath(os.path.abspath(file), above)) for file in files)
    return {file: target.with_name(_name(target.name)) for file, target in zip(files, targets, strict=True)}


def _name(image: str) -> str:
    encoded = os.fsencode(image)
    if len(encoded) + len(ENDING) <= LONGEST_NAME:
        return image + ENDING
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    kept = encoded[: LONGEST_NAME - len(ENDING) - len(digest) - 1].decode("utf-8", "ignore")
    return f"{kept}~{digest}{ENDING}"
