"""Sizes, shapes and places of anchors."""

import numpy as np
import pytest

from src.detection.anchors import AnchorGrid
from src.detection.catalogue import anchor_grid

GRID = AnchorGrid((8, 16), (4.0,), (0.25, 1.0, 4.0))


def test_shapes_at_a_position():
    """Sides of 4 strides; ratio is height over width at the same area."""
    assert GRID.num_per_position == 3
    assert GRID.base_anchors(0).tolist() == [[-32, -8, 32, 8], [-16, -16, 16, 16], [-8, -32, 8, 32]]
    np.testing.assert_array_equal(GRID.base_anchors(1), 2 * GRID.base_anchors(0))


def test_scales_lie_inside_of_ratios():
    grid = AnchorGrid((8,), (1.0, 2.0), (1.0, 4.0))
    sides = grid.base_anchors(0)[:, 2:] - grid.base_anchors(0)[:, :2]
    assert sides.tolist() == [[8, 8], [16, 16], [4, 16], [8, 32]]


def test_octaves():
    grid = AnchorGrid.of_octaves((8, 16), 4, 3)
    assert grid.scales == pytest.approx((4, 5.0397, 6.3496), abs=1e-4) and grid.num_per_position == 9
    grid = anchor_grid("retinanet_ptnt_s", 2.0)
    assert grid.scales[0] == 2.0 and grid.strides == (8, 16, 32, 64, 128)


def test_positions_go_row_by_row():
    first, second = GRID.anchors([(2, 3), (1, 2)])
    squares = first[1::3]
    assert first.shape == (18, 4) and second.shape == (6, 4) and first.dtype == np.float32
    np.testing.assert_array_equal(
        (squares[:, :2] + squares[:, 2:]) / 2, [[0, 0], [8, 0], [16, 0], [0, 8], [8, 8], [16, 8]]
    )
    assert second[4].tolist() == [16 - 32, -32, 16 + 32, 32]


@pytest.mark.parametrize(
    "canvas,expected",
    [
        ((800, 1344), [(100, 168), (50, 84), (26, 42), (13, 21), (7, 11)]),
        ((1344, 800), [(168, 100), (84, 50), (42, 26), (21, 13), (11, 7)]),
        ((96, 160), [(12, 20), (6, 10), (4, 6), (2, 3), (1, 2)]),
        ((64, 128), [(8, 16), (4, 8), (2, 4), (1, 2), (1, 1)]),
        ((32, 32), [(4, 4), (2, 2), (2, 2), (1, 1), (1, 1)]),
    ],
)
def test_maps_of_a_canvas(canvas, expected):
    assert anchor_grid("retinanet_ptnt_s").grids(canvas) == expected


def test_positions_beyond_the_image_are_not_valid():
    first, second = GRID.valid([(2, 3), (1, 2)], (8, 17))  # rows 0; columns at 0, 8, 16 and at 0, 16
    assert first.tolist() == [True] * 9 + [False] * 9 and second.tolist() == [True] * 6
    first, second = GRID.valid([(2, 3), (1, 2)], (16, 16))
    assert first.tolist() == ([True] * 6 + [False] * 3) * 2 and second.tolist() == [True] * 3 + [False] * 3
