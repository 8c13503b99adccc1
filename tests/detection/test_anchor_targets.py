"""Targets of a canvas of 32 x 64 pixels with one square anchor of two strides at each position of three maps."""

import math

import numpy as np
import pytest

from src.detection.anchor_targets import AnchorTargets
from src.detection.anchors import AnchorGrid
from src.detection.box_coding import BoxCoder
from src.detection.matcher import Matcher

CANVAS = (32, 64)
GRID = AnchorGrid((8, 16, 32), (2.0,), (1.0,))
TARGETS = AnchorTargets(GRID, Matcher(0.5, 0.4, 0.5), num_classes=3)
AT_16_8 = 1 * 8 + 2
"""The anchor with its centre at x 16, y 8: from (8, 0) to (24, 16)."""
BEYOND = [42, 43]
"""The second row of the coarsest map, which lies below the canvas."""


def encode(boxes, labels, img_shape=CANVAS, targets=TARGETS):
    boxes, labels = np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64)
    return targets(boxes, labels, img_shape, CANVAS)


def test_shapes():
    count = 4 * 8 + 2 * 4 + 2 * 2  # the coarsest has a row more than fits
    assert TARGETS.fields(CANVAS) == {"labels": ((count,), np.int32), "deltas": ((count, 4), np.float32)}
    found = encode([[8, 0, 24, 16]], [1])
    for name, (shape, kind) in TARGETS.fields(CANVAS).items():
        assert found[name].shape == shape and found[name].dtype == kind


def test_a_box_like_an_anchor():
    found = encode([[8, 0, 24, 16]], [1])
    assert np.flatnonzero(found["labels"] != 3).tolist() == [AT_16_8, *BEYOND]
    assert found["labels"][AT_16_8] == 1 and (found["labels"][BEYOND] == -1).all()
    np.testing.assert_allclose(found["deltas"], 0, atol=1e-6)


def test_deltas_say_where_the_box_is():
    found = encode([[8, 0, 24, 20]], [2])
    assert found["labels"][AT_16_8] == 2  # IoU 16 / 20; that one row further down 12 / 24
    assert found["labels"][AT_16_8 + 8] == 2
    np.testing.assert_allclose(found["deltas"][AT_16_8], [0, 2 / 16, 0, math.log(20 / 16)], atol=1e-6)
    np.testing.assert_allclose(found["deltas"][AT_16_8 + 8], [0, -6 / 16, 0, math.log(20 / 16)], atol=1e-6)
    assert np.flatnonzero(found["deltas"].any(axis=1)).tolist() == [AT_16_8, AT_16_8 + 8]
    halves = AnchorTargets(GRID, Matcher(0.5, 0.4), 3, BoxCoder((0.5,) * 4))
    np.testing.assert_allclose(
        encode([[8, 0, 24, 20]], [2], targets=halves)["deltas"][AT_16_8], 2 * found["deltas"][AT_16_8], atol=1e-6
    )


def test_an_overlap_between_the_thresholds_takes_no_part():
    found = encode([[8, 0, 24, 16 / 0.45]], [0])  # the anchor's IoU is 0.45
    assert found["labels"][AT_16_8] == -1 and not found["deltas"][AT_16_8].any()


def test_no_boxes():
    found = encode([], [])
    assert (np.delete(found["labels"], BEYOND) == 3).all() and not found["deltas"].any()


@pytest.mark.parametrize("width,inside", [(33, 8), (32, 4), (1, 4)])
def test_positions_beyond_the_padded_image_take_no_part(width, inside):
    """The image fills 32 x width pixels, padded to a multiple of 32."""
    labels = encode([[8, 0, 24, 16]], [1], (32, width))["labels"]
    first = labels[: 4 * 8].reshape(4, 8)
    assert (first[:, inside:] == -1).all() and (first[:, :inside] >= 0).all()
    assert (labels[4 * 8 : 4 * 8 + 2 * 4].reshape(2, 4)[:, inside // 2 :] == -1).all()
    assert (labels[-4:].reshape(2, 2) >= 0).tolist() == [[True, inside == 8], [False, False]]


def test_a_canvas_higher_than_wide():
    boxes, labels = np.array([[0, 8, 16, 24]], np.float32), np.array([2])
    found = TARGETS(boxes, labels, (64, 32), (64, 32))["labels"]
    beyond = [41, 43]  # the second column of the coarsest map
    assert np.flatnonzero(found != 3).tolist() == [2 * 4 + 1, *beyond] and found[[2 * 4 + 1, *beyond]].tolist() == [
        2,
        -1,
        -1,
    ]
