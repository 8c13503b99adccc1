"""Boxes as differences from priors and back."""

import math

import numpy as np
import pytest
from mindspore import Tensor

from src.detection.box_coding import BoxCoder
from src.detection.boxes_in_graph import limits_of
from src.detection.decode_boxes import DecodeBoxes, EncodeBoxes

STDS = (0.1, 0.1, 0.2, 0.2)


def decode(cell, priors, deltas, *limits):
    return cell(*(Tensor(np.array(x, np.float32)) for x in (priors, deltas, *limits))).asnumpy()


def test_encode():
    priors = np.array([[0, 0, 10, 20]] * 3, np.float32)
    boxes = np.array([[0, 0, 10, 20], [5, 15, 15, 35], [-5, 5, 15, 15]], np.float32)
    expected = [[0, 0, 0, 0], [0.5, 0.75, 0, 0], [0, 0, math.log(2), -math.log(2)]]
    found = BoxCoder().encode(priors, boxes)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(BoxCoder(STDS).encode(priors, boxes), np.array(expected) / STDS, atol=1e-5)


def test_encode_in_the_graph(mode):
    """As in NumPy, and with the same bits wherever a box stands."""
    draw = np.random.default_rng(0)
    corners, sides = draw.uniform(0, 500, (2, 99, 2)), draw.uniform(1, 200, (2, 99, 2))
    priors, boxes = np.concatenate([corners, corners + sides], axis=2).astype(np.float32)
    net = EncodeBoxes(STDS)
    found = net(Tensor(priors), Tensor(boxes)).asnumpy()
    np.testing.assert_allclose(found, BoxCoder(STDS).encode(priors, boxes), rtol=1e-5, atol=1e-5)
    parts = [net(Tensor(priors[i : i + 3]), Tensor(boxes[i : i + 3])).asnumpy() for i in range(0, 99, 3)]
    np.testing.assert_array_equal(np.concatenate(parts), found)


def test_a_prior_without_area_has_no_deltas():
    priors, boxes = np.array([[5, 5, 5, 9]], np.float32), np.array([[0, 0, 10, 10]], np.float32)
    assert np.isfinite(BoxCoder().encode(priors, boxes)).tolist() == [[False, True, False, True]]


def test_decode(mode):
    prior = [0, 0, 10, 20]
    deltas = [[0, 0, 0, 0], [0.5, 0.75, 0, 0], [0, 0, math.log(2), -math.log(2)]]
    expected = [prior, [5, 15, 15, 35], [-5, 5, 15, 15]]
    np.testing.assert_allclose(decode(DecodeBoxes(), [prior] * 3, deltas), expected, atol=1e-5)
    clipped = decode(DecodeBoxes(), [prior] * 3, deltas, [12, 18, 12, 18])
    np.testing.assert_allclose(clipped, [[0, 0, 10, 18], [5, 15, 12, 18], [0, 5, 12, 15]], atol=1e-5)


def test_sides_stay_between_a_share_of_the_priors_and_its_inverse():
    """Of 16 pixels: 0.256 and 1000; shifts are not bounded."""
    for delta, side in ((99.0, 1000.0), (-99.0, 0.256)):
        box = decode(DecodeBoxes(), [[0, 0, 16, 16]], [[0, 0, delta, delta]])
        np.testing.assert_allclose(box, [[8 - side / 2, 8 - side / 2, 8 + side / 2, 8 + side / 2]], rtol=1e-4)
    box = decode(DecodeBoxes(ratio_clip=0.5), [[0, 0, 16, 16]], [[10, 0, 99, -99]])
    np.testing.assert_allclose(box, [[152, 4, 184, 12]], rtol=1e-5)


@pytest.mark.parametrize("stds", [(1.0,) * 4, STDS])
def test_round_trip(stds):
    draw = np.random.default_rng(0)
    corners, sides = draw.uniform(0, 500, (2, 50, 2)), draw.uniform(5, 200, (2, 50, 2))
    priors, boxes = np.concatenate([corners, corners + sides], axis=2).astype(np.float32)
    found = decode(DecodeBoxes(stds), priors, BoxCoder(stds).encode(priors, boxes))
    np.testing.assert_allclose(found, boxes, atol=2e-3)


def test_each_image_has_its_own_size():
    boxes = [[[-1, 2, 30, 40]], [[-1, 2, 30, 40]]]
    limits = limits_of(Tensor(np.array([[10, 20], [1, 50]], np.float32))).asnumpy()
    assert decode(DecodeBoxes(), boxes, np.zeros((2, 1, 4)), limits).tolist() == [[[0, 2, 20, 10]], [[0, 1, 30, 1]]]
