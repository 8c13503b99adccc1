"""Masks of objects within regions, against samples taken one by one."""

import numpy as np
import pytest
from mindspore import Tensor

from src.detection.mask_targets import MaskTargets
from tests.detection.test_roi_align import pool

HEIGHT, WIDTH = 40, 56


def draw_masks():
    """A disc, noise, everything, nothing."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disc = (y - 20) ** 2 + (x - 25) ** 2 < 15**2
    noise = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.5
    return np.stack([disc, noise, disc | True, disc & False]).astype(np.uint8)


BOXES = np.array(
    [
        [8.3, 4.1, 42.7, 37.9],
        [0, 0, WIDTH, HEIGHT],  # all of it
        [30.5, 0, WIDTH, 20.25],  # at borders
        [20, 20, 23.5, 21],  # bins of less than a pixel
        [11.2, 13.9, 11.7, 39],
    ],
    np.float32,
)


@pytest.mark.parametrize("size", [7, 28])
def test_targets(size):
    masks = draw_masks()
    pairs = [(mask, box) for mask in range(len(masks)) for box in range(len(BOXES))]
    own, boxes = masks[[mask for mask, _ in pairs]], BOXES[[box for _, box in pairs]]
    found = MaskTargets(size)(Tensor(own), Tensor(boxes)).asnumpy()
    assert found.shape == (len(pairs), size, size) and found.dtype == np.float32
    for row in range(len(pairs)):
        means = pool(own[row][None].astype(np.float64), boxes[row], size)[0]
        clear = np.abs(means - 0.5) > 1e-4  # where rounding does not decide
        np.testing.assert_array_equal(found[row][clear], (means >= 0.5)[clear], err_msg=str(pairs[row]))
    for row, (mask, _) in enumerate(pairs):
        if mask >= 2:
            assert (found[row] == (mask == 2)).all()


def test_a_region_without_area_has_finite_targets():
    boxes = np.array([[0, 0, 0, 0], [9, 9, 9, 20]], np.float32)
    found = MaskTargets(7)(Tensor(np.ones((2, HEIGHT, WIDTH), np.uint8)), Tensor(boxes)).asnumpy()
    assert not found.any()
