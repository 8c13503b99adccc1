"""Which prior gets which box; overlaps are shares of boxes of 10 x 10 pixels."""

import numpy as np
import pytest

from src.detection.boxes import areas, pairwise_iof, pairwise_iou
from src.detection.matcher import BACKGROUND, IGNORED, Matcher

BOX = [0, 0, 10, 10]


def part(height, left=0):
    """A prior at the upper edge of a box: its IoU is height / 10."""
    return [left, 0, left + 10, height]


def arrays(*lists):
    return tuple(np.array(rows, np.float32).reshape(-1, 4) for rows in lists)


def match(matcher, priors, boxes, crowd=()):
    assigned, largest = matcher.match(*arrays(priors, boxes, crowd))
    return assigned.tolist(), largest.tolist()


def test_overlaps():
    one, other = arrays([BOX, [20, 20, 20, 30]], [[5, 0, 15, 10], [0, 0, 5, 20], [10, 0, 20, 10], [20, 20, 20, 30]])
    assert areas(other).tolist() == [100, 100, 100, 0]
    assert areas(arrays([[5, 5, 0, 10]])[0]).tolist() == [0]  # a negative side
    np.testing.assert_allclose(pairwise_iou(one, other), [[1 / 3, 1 / 3, 0, 0], [0, 0, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(pairwise_iof(other, one)[:, 0], [0.5, 0.5, 0, 0], rtol=1e-6)


def test_thresholds():
    assigned, largest = match(Matcher(0.5, 0.25), [part(height) for height in (10, 5, 4.5, 2.5, 2)], [BOX])
    assert assigned == [0, 0, IGNORED, IGNORED, BACKGROUND]
    assert largest == pytest.approx([1, 0.5, 0.45, 0.25, 0.2])


def test_the_best_priors_of_a_box_are_assigned_in_any_case():
    priors = [part(2), part(3), [0, 7, 10, 10], part(1)]  # the second and third are equally good
    assert match(Matcher(0.5, 0.25), priors, [BOX])[0] == [BACKGROUND, 0, 0, BACKGROUND]
    for matcher in (Matcher(0.5, 0.25, min_positive_iou=0.4), Matcher(0.5, 0.25, match_low_quality=False)):
        assert match(matcher, priors, [BOX])[0] == [BACKGROUND, IGNORED, IGNORED, BACKGROUND]


def test_of_equal_boxes_the_first_and_of_equal_claims_the_last():
    twice, prior = [BOX, BOX], [part(8), part(6)]
    assert match(Matcher(0.5, 0.25, match_low_quality=False), prior, twice)[0] == [0, 0]
    assert match(Matcher(0.5, 0.25), prior, twice)[0] == [1, 0]  # only the best one is claimed, by both


@pytest.mark.parametrize("least,expected", [(0.0, [1, 1]), (0.1, [0, BACKGROUND])])
def test_a_box_that_overlaps_nothing(least, expected):
    """As in mmdetection: with a bound of 0 it takes whatever overlaps it by 0, also from other boxes."""
    priors, boxes = [BOX, [50, 50, 60, 60]], [BOX, [80, 80, 90, 90]]
    assert match(Matcher(0.5, 0.25, least), priors, boxes)[0] == expected


def test_nothing_to_match():
    assert match(Matcher(0.5, 0.4), [BOX, part(5)], []) == ([BACKGROUND] * 2, [0, 0])
    assert match(Matcher(0.5, 0.4), [], [BOX]) == ([], [])


def test_priors_in_a_crowd_are_ignored():
    matcher = Matcher(0.5, 0.25, 0.3, ignore_iof=0.5)
    priors, crowd = [BOX, [20, 0, 30, 10], [25, 0, 35, 10], [26, 0, 36, 10]], [[0, 0, 5, 10], [20, 0, 30, 10]]
    found = match(matcher, priors, [BOX], crowd)  # shares inside: half, all, half, less
    assert found == ([0, IGNORED, BACKGROUND, BACKGROUND], [1, -1, 0, 0])
    assert match(Matcher(0.5, 0.25, 0.3), priors, [BOX], crowd)[0] == [0, BACKGROUND, BACKGROUND, BACKGROUND]
