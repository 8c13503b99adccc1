"""Mixup and CutMix: boxes, pixels and targets by hand, and the distribution of lambda."""

import math

import numpy as np
import pytest
from scipy import stats

from src.data.mixup import Mix, Mixing, draw_box, mix_images
from src.errors import UserError
from tests.draws import Draws as FixedDraws

RECIPE = {
    "mixup_alpha": 0.8,
    "cutmix_alpha": 1.0,
    "probability": 1.0,
    "switch_probability": 0.5,
    "label_smoothing": 0.1,
    "num_classes": 4,
}
MIXUP, CUTMIX = {**RECIPE, "cutmix_alpha": 0.0}, {**RECIPE, "mixup_alpha": 0.0}


class Draws(FixedDraws):
    """Also gives what this module draws besides."""

    def beta(self, a, b):
        alpha, value = self.values.pop(0)
        assert (a, b) == (alpha, alpha)
        return value


def values(*rows):
    """Rows of numbers -> (H, W, 1) uint8."""
    return np.array(rows, np.uint8)[..., None]


def test_draw_box_by_hand():
    # a quarter of 10 x 20: half of each side, 5 x 10; halves are cut to 2 and 5
    assert draw_box(Draws(5, 10), (10, 20), 0.75) == (5, 3, 15, 7)
    assert draw_box(Draws(0, 19), (10, 20), 0.75) == (14, 0, 20, 2)  # clipped at the top right
    assert draw_box(Draws(9, 0), (10, 20), 0.75) == (0, 7, 5, 10)
    assert draw_box(Draws(5, 10), (10, 20), 0.0) == (0, 0, 20, 10)
    left, top, right, bottom = draw_box(Draws(5, 10), (10, 20), 1.0)
    assert left == right and top == bottom


def test_lambda_is_corrected():
    mixing = Mixing(**RECIPE)
    assert mixing.draw(Draws(0.9, 0.49, (1.0, 0.75), 5, 10), (10, 20)) == Mix(1 - 40 / 200, (5, 3, 15, 7))
    assert mixing.draw(Draws(0.9, 0.49, (1.0, 0.75), 0, 19), (10, 20)) == Mix(1 - 12 / 200, (14, 0, 20, 2))
    assert mixing.draw(Draws(0.9, 0.5, (0.8, 0.75)), (10, 20)) == Mix(0.75, None)


def test_probability():
    mixing = Mixing(**{**RECIPE, "probability": 0.3})
    assert mixing.draw(Draws(0.3), (10, 20)) == Mix(1.0)
    assert mixing.draw(Draws(0.29, 0.5, (0.8, 0.75)), (10, 20)) == Mix(0.75)


def test_one_kind_needs_no_switch():
    assert Mixing(**MIXUP).draw(Draws(0.0, (0.8, 0.75)), (10, 20)) == Mix(0.75)
    assert Mixing(**CUTMIX).draw(Draws(0.0, (1.0, 0.75), 5, 10), (10, 20)) == Mix(0.8, (5, 3, 15, 7))


def test_enabled():
    assert Mixing(**RECIPE).enabled and Mixing(**MIXUP).enabled and Mixing(**CUTMIX).enabled
    off = Mixing(**{**MIXUP, "mixup_alpha": 0.0})
    assert not off.enabled and off.draw(Draws(), (10, 20)) == Mix(1.0)


def test_cutmix_pixels():
    first, second = values([1, 2, 3], [4, 5, 6]), values([11, 12, 13], [14, 15, 16])
    mixed = mix_images(first, second, Mix(0.5, (1, 0, 3, 1)))
    assert mixed[..., 0].tolist() == [[1, 12, 13], [4, 5, 6]]
    assert first[..., 0].tolist() == [[1, 2, 3], [4, 5, 6]] and mixed.dtype == np.uint8


def test_mixup_pixels():
    """A quarter of the first: 0.25 * 8 + 0.75 * 20 = 17; a half is rounded to the even number."""
    first, second = values([8, 2, 0, 255]), values([20, 0, 2, 254])
    assert mix_images(first, second, Mix(0.25))[..., 0].tolist() == [[17, 0, 2, 254]]  # 17, 0.5, 1.5, 254.25
    assert mix_images(values([100, 101]), values([101, 102]), Mix(0.5))[..., 0].tolist() == [[100, 102]]
    assert first[..., 0].tolist() == [[8, 2, 0, 255]]


@pytest.mark.parametrize("lam", [0.5, 0.25, 0.875, 0.3, 0.123456789, 1e-6, 0.0])
def test_mixup_rounds_every_pair_of_values(lam):
    first, second = np.indices((256, 256)).astype(np.uint8)[..., None]
    mixed = mix_images(first, second, Mix(lam))
    exact = lam * first.astype(np.float64) + (1 - lam) * second.astype(np.float64)
    if lam in (0.5, 0.25, 0.875):  # float32 is exact as well
        assert np.array_equal(mixed, np.rint(exact))
    assert abs(mixed - exact).max() < 0.5001 and mixed.dtype == np.uint8


def test_nothing_to_mix():
    first, second = values([1, 2]), values([3, 4])
    assert mix_images(first, second, Mix(1.0)) is first
    assert mix_images(first, second, Mix(1.0, (1, 0, 1, 0))) is first


def test_read_only_images():
    first, second = values([1, 2]), values([3, 4])
    first.flags.writeable = second.flags.writeable = False
    for mix in (Mix(0.5), Mix(0.5, (0, 0, 1, 1))):
        assert mix_images(first, second, mix).flags.writeable


def test_targets_by_hand():
    """Smoothing .1 over 4 classes: .025 everywhere, .925 at the label; .7 of it and .3 of the partner's."""
    targets = Mixing(**RECIPE).targets(np.array([0, 2]), np.array([3, 2]), Mix(0.7))
    assert targets.dtype == np.float32
    expected = [[0.7 * 0.9 + 0.025, 0.025, 0.025, 0.3 * 0.9 + 0.025], [0.025, 0.025, 0.925, 0.025]]
    assert np.allclose(targets, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("num_classes", [1, 10, 1000])
def test_targets_sum_to_one(smoothing, num_classes):
    rng = np.random.default_rng(0)
    mixing = Mixing(**{**RECIPE, "label_smoothing": smoothing, "num_classes": num_classes})
    labels, partners = rng.integers(num_classes, size=(2, 32)).astype(np.int32)
    for lam in (0.0, 0.123456789, 0.5, 1.0):
        targets = mixing.targets(labels, partners, Mix(lam))
        assert targets.shape == (32, num_classes)
        assert abs(targets.sum(axis=1, dtype=np.float64) - 1).max() < 3e-6 and targets.min() >= 0
    assert np.array_equal(targets, mixing.targets(labels, labels, Mix(1.0)))


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0])
def test_lambda_of_mixup_is_beta(alpha):
    rng, mixing = np.random.default_rng(0), Mixing(**{**MIXUP, "mixup_alpha": alpha})
    drawn = [mixing.draw(rng, (8, 8)) for _ in range(10000)]
    assert all(mix.box is None for mix in drawn)
    assert stats.kstest([mix.lam for mix in drawn], stats.beta(alpha, alpha).cdf).pvalue > 0.001


def test_lambda_of_cutmix_is_the_real_area():
    """A square of side s of a unit image, its centre anywhere, keeps s - s^2 / 4 of each side on average.

    With lambda uniform, s^2 is: the mean area is E (s - s^2 / 4)^2 = 1/2 - 1/5 + 1/48.
    """
    rng, mixing = np.random.default_rng(0), Mixing(**CUTMIX)
    black, white = np.zeros((100, 100, 1), np.uint8), np.ones((100, 100, 1), np.uint8)
    areas = []
    for _ in range(10000):
        mix = mixing.draw(rng, (100, 100))
        areas.append(1 - mix.lam)
        assert mix_images(black, white, mix).mean() == pytest.approx(1 - mix.lam, abs=1e-12)
    assert abs(np.mean(areas) - (1 / 2 - 1 / 5 + 1 / 48)) < 0.012  # the cut halves take up to 1 pixel of 100 away


def test_boxes_are_centred_anywhere():
    rng = np.random.default_rng(0)
    boxes = np.array([draw_box(rng, (1000, 1000), 0.9999) for _ in range(5000)])  # 10 x 10 pixels
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2000
    for axis in range(2):
        assert stats.kstest(centres[:, axis], "uniform").pvalue > 0.001
    assert boxes.min() == 0 and boxes.max() == 1000


def test_switch():
    rng, mixing = np.random.default_rng(0), Mixing(**{**RECIPE, "probability": 0.8, "switch_probability": 0.25})
    drawn = [mixing.draw(rng, (224, 224)) for _ in range(10000)]
    cut = sum(mix.box is not None for mix in drawn)
    mixed = sum(mix.box is None and mix.lam < 1 for mix in drawn)
    assert abs(cut - 2000) < 160 and abs(mixed - 6000) < 200  # four standard deviations


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mixup_alpha": -0.1}, "mixup must be a finite number"),
        ({"cutmix_alpha": math.inf}, "cutmix must be a finite number"),
        ({"probability": 1.5}, "mix_prob must be from 0 to 1, got 1.5"),
        ({"switch_probability": math.nan}, "mix_switch_prob must be from 0 to 1"),
        ({"label_smoothing": 1.0}, "label_smoothing must be at least 0 and below 1, got 1.0"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises(UserError, match=message):
        Mixing(**{**RECIPE, **change})
