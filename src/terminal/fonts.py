"""Fonts of this machine, for labels of any script in pictures."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

from PIL import ImageFont

from ..errors import printable

_USUAL = (
    "DejaVuSans.ttf",
    "Arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "msyh.ttc",
    "PingFang.ttc",
    "Arial Unicode.ttf",
)
"""Looked for first where the system keeps its fonts, for labels with letters that Pillow's own font lacks."""

_SIZE = 16


def find_fonts() -> list[ImageFont.FreeTypeFont]:
    """Pillow's own font, then those of the usual ones that are on this machine."""
    fonts = [ImageFont.load_default(_SIZE)]
    for name in _USUAL:
        with suppress(OSError):
            fonts.append(ImageFont.truetype(name, _SIZE))
    return fonts


def choose_font(fonts: Sequence[ImageFont.FreeTypeFont], text: str) -> ImageFont.FreeTypeFont:
    """The first of those that have most of the letters of `text`.

    Where a letter is missing, all fonts of the machine are looked through. Letters that none has are drawn as boxes,
    and a warning says what to install.
    """
    letters = set(printable(text))
    best = max(fonts, key=lambda font: _count_letters(font, letters))
    if _count_letters(best, letters) == len(letters):
        return best
    best = max((best, *_all_fonts()), key=lambda font: _count_letters(font, letters))
    if missing := [letter for letter in sorted(letters) if not _count_letters(best, {letter})]:
        _warn(missing[0])
    return best


def shorten(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """`text`, cut at its end where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _count_letters(font: ImageFont.FreeTypeFont, letters: set[str]) -> int:
    box = bytes(font.getmask("\U0010ffff"))  # no letter: what a font shows in place of those it lacks
    return sum(bytes(font.getmask(letter)) != box for letter in letters)


@cache
def _all_fonts() -> list[ImageFont.FreeTypeFont]:
    from matplotlib.font_manager import findSystemFonts

    fonts = []
    for path in sorted(findSystemFonts()):
        with suppress(OSError):
            fonts.append(ImageFont.truetype(path, _SIZE))
    return fonts


_told: set[str] = set()  # the letter that the warning named, once in a process


def _warn(letter: str) -> None:
    if _told:
        return
    _told.add(letter)
    warnings.warn(
        f"no font on this machine has the letter {letter!r} of a label: it is drawn as a box, and so are others like "
        "it; install a font that has it, for Chinese, Japanese and Korean fonts-noto-cjk (apt) or "
        "google-noto-sans-cjk-fonts (yum, dnf)",
        stacklevel=3,
    )
