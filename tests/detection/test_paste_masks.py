"""Masks that are pasted into images: a stored case, places that a reader can check, and run-length codes."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.cases.case import Case
from benchmarks.cases.masks import check_mask_paste
from src.detection.paste_masks import paste_masks, paste_window
from src.detection.run_lengths import area, decode

CASE = Path(__file__).parents[1] / "reference/detection/mask_paste.json"


def test_the_stored_case():
    case = Case.read(CASE)
    rows = list(check_mask_paste(case))
    assert len(rows) == 32 and [row for row in rows if row.difference > 0] == []
    shifted = Case(case.meta, case.arrays | {"original_scale/boxes": case.arrays["original_scale/boxes"] + 1})
    assert not all(row.holds for row in check_mask_paste(shifted))


def test_certain_masks_fill_their_boxes():
    """Pixels whose centre lies in the box, as far as they are in the image."""
    ones = np.ones((28, 28), np.float32)
    boxes = [
        [2, 3, 7, 5],
        [2.6, 3.4, 7.4, 5.6],
        [-5, -5, 3, 2],
        [17, 8, 40, 90],
        [-1e9, -1e9, 1e9, 1e9],
        [4.2, 4, 5, 5],
    ]
    expected = [(2, 3, 7, 5), (3, 3, 7, 6), (0, 0, 3, 2), (17, 8, 20, 10), (0, 0, 20, 10), (4, 4, 5, 5)]
    for code, (x0, y0, x1, y1) in zip(paste_masks([ones] * 6, np.array(boxes), (10, 20)), expected, strict=True):
        mask = np.zeros((10, 20), bool)
        mask[y0:y1, x0:x1] = True
        np.testing.assert_array_equal(decode(code), mask)
        assert code["size"] == [10, 20] and area(code) == mask.sum()


def test_rows_and_columns_are_not_exchanged():
    upper_right = np.zeros((28, 28), np.float32)
    upper_right[:14, 14:] = 1
    [code] = paste_masks([upper_right], np.array([[10, 20, 30, 60]]), (100, 50))
    rows, columns = np.nonzero(decode(code))
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (20, 20, 30, 40)


def test_half_is_on_and_less_is_off():
    """In a box of 28 x 28 pixels, where each takes the value of a cell."""
    for value, pixels in ((0.5, 28 * 28), (0.4999, 0)):
        [code] = paste_masks([np.full((28, 28), value, np.float32)], np.array([[2, 2, 30, 30]]), (40, 40))
        assert area(code) == pixels


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [5, 5, 9, 5], [9, 9, 3, 3], [-9, 0, -3, 9], [0, 30, 9, 40], [1e9] * 4])
def test_boxes_without_a_pixel(box):
    [code] = paste_masks([np.ones((28, 28), np.float32)], np.array([box]), (10, 10))
    assert area(code) == 0 and code["counts"] == "T3"  # 100
    assert paste_masks([], np.zeros((0, 4)), (10, 10)) == []


def test_nothing_is_computed_beyond_the_box():
    columns, left, top = paste_window(np.ones((28, 28), np.float32), [100.5, 50.5, 109.5, 53.5], (8000, 8000))
    assert columns.shape == (10, 4) and (left, top) == (100, 50)
