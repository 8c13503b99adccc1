"""Colour jitter against numbers by hand: factors and their order from a script, and their distribution."""

import math

import numpy as np
import pytest
from PIL import Image

from src.data import color_jitter
from src.data.color_jitter import ColorJitter
from src.errors import UserError

BRIGHTNESS, CONTRAST, SATURATION = range(3)


class Draws:
    """Stands for a generator: gives the order and the factors it was told, and keeps the range it was asked for."""

    def __init__(self, order, factors):
        self.order, self.factors, self.range = order, list(factors), None

    def permutation(self, count):
        assert count == len(self.order)
        return np.array(self.order)

    def uniform(self, low, high):
        self.range = (low, high)
        return self.factors.pop(0)


def jitter(pixels, order, factors):
    image = Image.fromarray(np.array([pixels], np.uint8))
    return np.asarray(ColorJitter(1.0)(image, Draws(order, factors)))[0].tolist()


def test_brightness_by_hand():
    # times 0.5 (cut to whole numbers), then times 1.5 (cut at 255)
    assert jitter([[200, 101, 0]], [0, 1, 2], [0.5, 1, 1]) == [[100, 50, 0]]
    assert jitter([[200, 101, 0]], [0, 1, 2], [1.5, 1, 1]) == [[255, 151, 0]]


def test_contrast_by_hand():
    # luma 100 and 201, mean 150.5 -> 151; half way to it: 125.5 and 176; away from it: 151 - 51 * 1.5 = 74.5
    assert jitter([[100] * 3, [201] * 3], [1, 0, 2], [0.5, 1, 1]) == [[125] * 3, [176] * 3]
    assert jitter([[100] * 3, [201] * 3], [1, 0, 2], [1.5, 1, 1]) == [[74] * 3, [226] * 3]


def test_saturation_by_hand():
    # luma of pure red: 0.299 * 255 = 76; half way to it: 76 + (255 - 76) / 2 = 165.5 and 38
    assert jitter([[255, 0, 0]], [2, 0, 1], [0.5, 1, 1]) == [[165, 38, 38]]
    assert jitter([[255, 0, 0]], [2, 0, 1], [0.0, 1, 1]) == [[76, 76, 76]]


def test_order_matters():
    pixels = [[200] * 3, [100] * 3]
    # doubled and cut: 255 and 200, mean 227.5 -> 228, then half way: 241.5 and 214
    assert jitter(pixels, [BRIGHTNESS, CONTRAST, SATURATION], [2.0, 0.5, 1]) == [[241] * 3, [214] * 3]
    # mean 150, half way: 175 and 125, then doubled
    assert jitter(pixels, [CONTRAST, BRIGHTNESS, SATURATION], [0.5, 2.0, 1]) == [[255] * 3, [250] * 3]


def test_factors_and_orders_are_uniform(monkeypatch):
    calls = []

    def record(name):
        class Adjustment:
            def __init__(self, image):
                self.image = image

            def enhance(self, factor):
                calls.append((name, factor))
                return self.image

        return Adjustment

    monkeypatch.setattr(color_jitter, "ADJUSTMENTS", tuple(record(name) for name in range(3)))
    rng, image = np.random.default_rng(0), Image.new("RGB", (1, 1))
    transform = ColorJitter(0.4)
    for _ in range(6000):
        transform(image, rng)
    names, factors = np.array(calls).reshape(6000, 3, 2).transpose(2, 0, 1)
    assert np.all(np.sort(names, axis=1) == [0, 1, 2])
    _, counts = np.unique(names, axis=0, return_counts=True)
    assert len(counts) == 6 and np.all(abs(counts - 1000) < 120)  # four standard deviations
    for name in range(3):
        chosen = np.sort(factors[names == name])
        assert abs(chosen - np.linspace(0.6, 1.4, 6000)).max() < 0.8 * 0.025  # Kolmogorov-Smirnov, p = 0.001


@pytest.mark.parametrize(("strength", "expected"), [(0.25, (0.75, 1.25)), (1.0, (0, 2)), (3.0, (0, 4)), (0, (1, 1))])
def test_range(strength, expected):
    draws = Draws([0, 1, 2], [1, 1, 1])
    ColorJitter(strength)(Image.new("RGB", (1, 1)), draws)
    assert draws.range == expected


def test_grey_stays_grey():
    image = Image.new("L", (2, 2), 100)
    assert ColorJitter(0.4)(image, np.random.default_rng(0)).mode == "L"


@pytest.mark.parametrize("strength", [-0.1, math.inf, math.nan])
def test_wrong_strength(strength):
    with pytest.raises(UserError, match="color_jitter must be a finite number, at least 0"):
        ColorJitter(strength)
