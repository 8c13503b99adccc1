"""Detections of two runs: which are the same."""

import numpy as np
import pytest

from src.export.matched_detections import Matches, match_detections


def of_images(*images, most=4):
    """Outputs of a detector: of each image detections (x0, score, label, probability), in boxes of 10 pixels."""
    boxes, scores = np.zeros((len(images), most, 4), np.float32), np.zeros((len(images), most), np.float32)
    labels, masks = np.full((len(images), most), -1, np.int32), np.zeros((len(images), most, 2, 2), np.float32)
    for i, detections in enumerate(images):
        for j, (x0, score, label, probability) in enumerate(detections):
            boxes[i, j], scores[i, j], labels[i, j] = (x0, 0, x0 + 10, 10), score, label
            masks[i, j, 1, 0] = probability
    return boxes, scores, labels, np.array([len(own) for own in images], np.int32), masks


def match(got, expected):
    return match_detections(got, expected, side=100, allowed=0.01)


FOUND = [(10, 0.9, 1, 0.7), (30, 0.8, 0, 0.2), (31, 0.8, 0, 0.2)]


def test_the_same():
    assert match(of_images(FOUND, []), of_images(FOUND, [])) == Matches(3, 3, 0)
    assert match(of_images([]), of_images([])) == Matches(0, 0, 0)


def test_in_another_order_and_with_one_more():
    assert match(of_images([FOUND[1], FOUND[0]]), of_images([FOUND[0], FOUND[1], (60, 0.5, 1, 0)])) == Matches(2, 3, 0)
    assert match(of_images(FOUND), of_images(FOUND[:1])) == Matches(1, 3, 0)
    assert match(of_images([], FOUND), of_images(FOUND, [])) == Matches(0, 6, 0)  # of another image


@pytest.mark.parametrize(
    "other,difference",
    [
        ((10.5, 0.9, 1, 0.7), 0.005),
        ((12, 0.9, 1, 0.7), None),
        ((10, 0.896, 1, 0.7), 0.004),
        ((10, 0.88, 1, 0.7), None),
        ((10, 0.9, 1, 0.703), 0.003),
        ((10, 0.9, 1, 0.72), None),
        ((10, 0.9, 0, 0.7), None),
    ],
)
def test_what_may_differ(other, difference):
    found = match(of_images([other]), of_images(FOUND[:1]))
    assert (found.number, found.total) == (0 if difference is None else 1, 1)
    assert found.largest_difference == pytest.approx(difference or 0, abs=1e-6)


def test_each_is_the_same_as_one_only():
    """Two that are near the same one: the nearer takes it, the other is alone."""
    assert match(of_images(FOUND[1:2]), of_images([(30.6, 0.8, 0, 0.2), (30, 0.8, 0, 0.2)])) == Matches(1, 2, 0)


def test_what_is_not_finite():
    outputs = of_images(FOUND)
    outputs[3][0] = -1
    for pair in ((outputs, of_images(FOUND)), (of_images(FOUND), outputs), (outputs, outputs)):
        found = match(*pair)
        assert found.number == 0 and np.isnan(found.largest_difference)
