"""Masks from polygons and run-length codes: by hand, against pycocotools, and what is none."""

import sys

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from src.data.masks import decode_masks, is_polygon, is_run_length_code
from src.detection.run_lengths import encode
from src.errors import UserError

SIZE = (4, 6)
SQUARE, CORNER = [1, 1, 3, 1, 3, 3, 1, 3], [4.0, 0.0, 6.0, 0.0, 6.0, 2.0, 4.0, 2.0]
NAN = float("nan")


def drawn(*windows):
    mask = np.zeros(SIZE, np.uint8)
    for rows, columns in windows:
        mask[slice(*rows), slice(*columns)] = 1
    return mask


OF_SQUARE, OF_BOTH = drawn([(1, 3), (1, 3)]), drawn([(1, 3), (1, 3)], [(0, 2), (4, 6)])


def test_every_form():
    """Whole numbers count column by column: 5 pixels off, then 2 on ..."""
    masks = decode_masks(
        [[SQUARE], [SQUARE, CORNER], {"size": [4, 6], "counts": [5, 2, 2, 2, 13]}, encode(OF_BOTH.astype(bool))], SIZE
    )
    assert masks.shape == (4, *SIZE) and masks.dtype == np.uint8
    for mask, expected in zip(masks, (OF_SQUARE, OF_BOTH, OF_SQUARE, OF_BOTH), strict=True):
        assert np.array_equal(mask, expected)
    assert decode_masks([], SIZE).shape == (0, *SIZE)


def test_parts_that_overlap_stay_one():
    assert np.array_equal(decode_masks([[SQUARE, SQUARE]], SIZE)[0], OF_SQUARE)


def test_any_mask_comes_back():
    rng = np.random.default_rng(0)
    expected = rng.random((20, 13, 9)) < np.linspace(0, 1, 20).reshape(-1, 1, 1)
    compressed = [encode(mask) for mask in expected]
    assert all(is_run_length_code(code, (13, 9)) for code in compressed)
    assert np.array_equal(decode_masks(compressed, (13, 9)), expected)


def test_polygons_as_pycocotools_draws_them():
    rng = np.random.default_rng(0)
    polygons = [[rng.uniform(-20, 80, 2 * rng.integers(3, 12)).tolist()] for _ in range(20)]
    expected = [coco_masks.decode(coco_masks.frPyObjects(polygon, 50, 60))[..., 0] for polygon in polygons]
    assert np.array_equal(decode_masks(polygons, (50, 60)), expected)


@pytest.mark.parametrize("far", [1e5, 1e9, 1e300, 2**70])
def test_points_far_away(far):
    """The half plane below y = 2; what it covers is drawn without memory for the way there."""
    assert decode_masks([[[-far, 2, far, 2, far, far, -far, far]]], SIZE)[0].tolist() == [[0] * 6] * 2 + [[1] * 6] * 2


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        [[]],
        [[1, 2, 3, 4]],
        [SQUARE, [1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, 4, 5, NAN]],
        [[1, 2, 3, 4, 5, 10**400]],
        [[1, 2, 3, 4, 5, True]],
        [[1, 2, 3, 4, 5, "6"]],
        SQUARE,
        "x",
        {},
        {"size": [4, 6]},
        {"size": [6, 4], "counts": [24]},
        {"size": [4, 6], "counts": [23]},
        {"size": [4, 6], "counts": [25, -1]},
        {"size": [4, 6], "counts": [23, True]},
        {"size": [4, 6], "counts": [12.0, 12.0]},
        {"size": [4, 6], "counts": []},
        {"size": [4, 6], "counts": ""},
        {"size": [4, 6], "counts": b"H0"},
        {"size": [4, 6], "counts": "G0"},
        {"size": [4, 6], "counts": "é"},
        {"size": [4, 6], "counts": "oooooooooooooooooooo0"},
        {"size": [4, 6], "counts": "\n\n"},
    ],
)
def test_what_is_none(segmentation):
    with pytest.raises(ValueError, match="^no segmentation of an image of 6 x 4 pixels") as error:
        decode_masks([segmentation], SIZE)
    assert not isinstance(error.value, UserError)


def test_codes_and_polygons():
    assert is_run_length_code({"size": [4, 6], "counts": "h0"}, SIZE)  # 24
    assert not is_run_length_code({"size": [4, 6], "counts": "g0"}, SIZE)
    assert not is_run_length_code([SQUARE], SIZE)
    assert is_polygon(SQUARE) and not is_polygon(tuple(SQUARE))


def test_without_pycocotools(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-detection.txt$"):
        decode_masks([[SQUARE]], SIZE)
