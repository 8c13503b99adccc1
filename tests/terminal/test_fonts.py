"""Fonts for labels: which one is taken, and what is said where none has the letters."""

import warnings

import pytest
from PIL import ImageFont

from src.terminal import fonts
from src.terminal.fonts import choose_font, shorten


class Font:
    def __init__(self, letters):
        self.letters = letters

    def getmask(self, letter):
        return letter.encode() if letter in self.letters else b"box"


LATIN, GREEK, BOTH = Font("abc"), Font("αβγ"), Font("abcαβγ")


@pytest.fixture
def machine(monkeypatch):
    """Fonts of the machine, which has one for Chinese."""
    found = [Font("狗猫abc")]
    monkeypatch.setattr(fonts, "_all_fonts", lambda: found)
    monkeypatch.setattr(fonts, "_told", set())
    return found


def test_the_font_with_most_letters():
    assert choose_font([LATIN, GREEK, BOTH], "ab") is LATIN
    assert choose_font([LATIN, GREEK, BOTH], "αβ") is GREEK
    assert choose_font([LATIN, GREEK, BOTH], "aβ") is BOTH


def test_any_font_of_the_machine_that_has_the_letters(machine):
    assert choose_font([LATIN, GREEK], "狗a") is machine[0]


def test_what_to_install_is_told_once(machine):
    machine.clear()
    with pytest.warns(UserWarning, match=r"has the letter '狗' of a label: .* install .* fonts-noto-cjk") as told:
        assert choose_font([LATIN, GREEK], "狗a") is LATIN
        choose_font([LATIN, GREEK], "猫")
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choose_font([LATIN, GREEK], "狗a")


def test_shorten():
    font = ImageFont.load_default(16)
    assert shorten("cat", font, 100) == "cat"
    cut = shorten("a label of many words", font, 100)
    assert cut.endswith("…") and "a label of many words".startswith(cut[:-1])
    assert 60 < font.getlength(cut) <= 100
