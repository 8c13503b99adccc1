"""Random erasing: boxes by hand from scripted draws, and the distribution of areas, aspects, places and noise."""

import math

import numpy as np
import pytest

from src.data.random_erasing import RandomErasing, draw_box
from src.errors import UserError
from tests.draws import Draws as FixedDraws


class Draws(FixedDraws):
    """Also gives what this module draws besides."""

    def standard_normal(self, shape, dtype):
        return np.full(shape, 7, dtype)


def test_box_by_hand():
    # 2 % of 10,000 pixels at aspect 0.3 * (1 / 0.09) ** 0.5 = 1: side 14.14 -> 14
    assert draw_box(Draws(0.0, 0.5, 5, 86), (100, 100)) == (86, 5, 100, 19)
    # a third at height / width = 0.3: 31.6 high, 105.4 wide -> 32 x 105 in 50 x 200 (also 10,000 pixels)
    assert draw_box(Draws(1.0, 0.0, 18, 95), (50, 200)) == (95, 18, 200, 50)
    # the upper end of the aspect, 1 / 0.3: the same box upright
    assert draw_box(Draws(1.0, 1.0, 95, 18), (200, 50)) == (18, 95, 50, 200)


def test_box_is_smaller_than_the_image_in_both_directions():
    # a third of 4 x 12 at aspect 1: 4 x 4, as high as the image -> tried again; then 2 %: 1 x 1
    assert draw_box(Draws(1.0, 0.5, 0.0, 0.5, 2, 3), (4, 12)) == (3, 2, 4, 3)
    draws = Draws(*[1.0, 0.5] * 10)
    assert draw_box(draws, (4, 12)) is None and draws.values == []


def test_erases_only_the_box():
    pixels = np.zeros((3, 100, 100), np.float32)
    RandomErasing(0.25)(pixels, Draws(0.249, 0.0, 0.5, 5, 86))
    assert np.all(pixels[:, 5:19, 86:] == 7) and np.count_nonzero(pixels) == 3 * 14 * 14


def test_no_box_leaves_the_image():
    pixels = np.zeros((3, 4, 12), np.float32)
    RandomErasing(1.0)(pixels, Draws(0.5, *[1.0, 0.5] * 10))
    assert not pixels.any()


@pytest.mark.parametrize(("probability", "draw"), [(0.25, 0.25), (0.0, 0.0)])
def test_leaves_the_image_otherwise(probability, draw):
    pixels = np.zeros((3, 100, 100), np.float32)
    RandomErasing(probability)(pixels, Draws(draw))
    assert not pixels.any()


def test_boxes_are_distributed_as_said():
    rng = np.random.default_rng(0)
    boxes = [draw_box(rng, (1000, 1000)) for _ in range(10000)]
    assert None not in boxes
    left, top, right, bottom = np.array(boxes).T
    width, height = right - left, bottom - top
    area, log_aspect = width * height / 1e6, np.log(height / width)
    assert 0.0195 < area.min() < 0.021 and 0.331 < area.max() < 0.3343
    assert abs(log_aspect).max() < -math.log(0.3) + 0.01
    # Large and elongated boxes do not fit and are drawn again; whatever is below 0.3 of the area always fits.
    fits = area < 0.29
    ends = np.linspace(0.02, 0.29, fits.sum())
    assert abs(np.sort(area[fits]) - ends).max() < 0.27 * 0.02  # Kolmogorov-Smirnov
    ends = np.linspace(math.log(0.3), -math.log(0.3), fits.sum())
    assert abs(np.sort(log_aspect[fits]) - ends).max() < 2.408 * 0.02
    for start, side in ((left, width), (top, height)):
        assert abs(np.sort(start / (1000 - side)) - np.linspace(0, 1, 10000)).max() < 0.02


def test_share_of_erased_images_and_noise():
    rng, erase = np.random.default_rng(0), RandomErasing(0.25)
    noise = []
    for _ in range(4000):
        pixels = np.full((3, 16, 16), np.nan, np.float32)
        erase(pixels, rng)
        erased = ~np.isnan(pixels)
        assert np.all(erased == erased[0])
        if erased.any():
            noise.append(pixels[erased].reshape(3, -1))
    assert abs(len(noise) - 1000) < 110  # four standard deviations
    noise = np.concatenate(noise, axis=1)
    assert noise.dtype == np.float32
    assert np.all(abs(noise.mean(axis=1)) < 0.02) and np.all(abs(noise.std(axis=1) - 1) < 0.02)
    assert np.all(abs(np.corrcoef(noise) - np.eye(3)) < 0.02)  # each channel its own


@pytest.mark.parametrize("probability", [-0.1, 1.1, 25, math.nan])
def test_wrong_probability(probability):
    with pytest.raises(UserError, match="erase_prob must be from 0 to 1"):
        RandomErasing(probability)
