"""Run-length codes against pycocotools."""

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from src.detection.run_lengths import area, decode, decode_window, encode, encode_window, lengths


def masks():
    """Of all kinds: empty, full, single pixels, noise, long runs; a row, a column."""
    random = np.random.default_rng(0)
    for number in range(300):
        shape = [(1, 37), (37, 1), (1, 1), *[random.integers(1, 40, 2)] * 3][number % 6]
        mask = random.random(shape) < [0, 0.02, 0.5, 0.98, 1][number % 5]
        yield np.repeat(np.repeat(mask, 1 + 40 * (number % 3 == 0), 0), 1 + 60 * (number % 7 == 0), 1)


def test_pycocotools_writes_the_same():
    for mask in masks():
        expected = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
        code = encode(mask)
        assert code == {"size": list(mask.shape), "counts": expected["counts"].decode()}
        np.testing.assert_array_equal(decode(code), mask)
        assert area(code) == mask.sum() and lengths(code).sum() == mask.size


def test_parts_of_images():
    for mask in masks():
        columns, left, top = decode_window(encode(mask))
        rows, places = np.nonzero(mask)
        if not len(rows):
            assert columns.size == 0
            continue
        assert (left, top) == (places.min(), rows.min())
        assert columns.shape == (places.max() + 1 - left, rows.max() + 1 - top)
        assert encode_window(columns, left, top, mask.shape) == encode(mask)


@pytest.mark.parametrize("counts", ["", "\x01", "X", "T", "~~"])
def test_letters_that_are_no_code(counts):
    with pytest.raises(ValueError, match="a run-length code of other letters than COCO's"):
        lengths({"size": [2, 2], "counts": counts})
