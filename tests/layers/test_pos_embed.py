"""Resized position tables: values worked out by hand, and values that PyTorch 2.13 gives.

Keys' kernel with a = -0.75, of the distance d: 1.25 d^3 - 2.25 d^2 + 1 up to 1, -0.75 (d^3 - 5 d^2 + 8 d - 4) up to 2.
A quarter of the way from one entry to the next, the four entries around weigh ("quarter" below)
    d = 1.25: -0.75 (1.953125 - 7.8125 + 10 - 4)   = -0.10546875
    d = 0.25: 0.01953125 - 0.140625 + 1            =  0.87890625
    d = 0.75: 0.52734375 - 1.265625 + 1            =  0.26171875
    d = 1.75: -0.75 (5.359375 - 15.3125 + 14 - 4)  = -0.03515625
and half of the way ("half")
    d = 0.5:  0.15625 - 0.5625 + 1                 =  0.59375
    d = 1.5:  -0.75 (3.375 - 11.25 + 12 - 4)       = -0.09375
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.layers.pos_embed import resize_grid, resize_pos_embed, resize_relative_pos


def numbers(text: str, shape: tuple) -> np.ndarray:
    return np.array(text.split(), np.float32).reshape(shape)


def line(values, size: int) -> np.ndarray:
    """One row of numbers resized along the width."""
    return resize_grid(np.array(values, np.float32).reshape(1, -1, 1), (1, size)).reshape(-1)


def test_two_entries_become_four():
    # New centres lie at (i + 0.5) / 2 - 0.5 = -0.25, 0.25, 0.75, 1.25 of the old entries 0 and 1; the edge repeats.
    #   at 0.25: entries 0, 0, 1, 1 weigh "quarter":                        0.26171875 - 0.03515625 = 0.2265625
    #   at -0.25, 0.75 behind -1: entries 0, 0, 0, 1 weigh "quarter" backwards:                     -0.10546875
    #   at 0.75 and 1.25: 1 less what their mirror images have
    np.testing.assert_allclose(line([0, 1], 4), [-0.10546875, 0.2265625, 0.7734375, 1.10546875], atol=1e-6)


def test_four_entries_become_two():
    # New centres at 2 (i + 0.5) - 0.5 = 0.5 and 2.5: entries 0, 0, 1, 2 and 1, 2, 3, 3 weigh "half"; no others do,
    # because there is no antialiasing.
    #   16 (-0.09375 + 0.59375) + 32 * 0.59375 - 64 * 0.09375                =  8 + 19 - 6 =  21
    #   -32 * 0.09375 + 64 * 0.59375 + 8 (0.59375 - 0.09375)                 = -3 + 38 + 4 =  39
    np.testing.assert_allclose(line([16, 32, 64, 8], 2), [21, 39], atol=1e-5)


def test_ramp_shows_the_kernel():
    # Inside, entry 2i + 1 of 16 lies at i + 0.25, and "quarter" gives i + (0.10546875 + 0.26171875 - 2 * 0.03515625)
    # = i + 0.296875; entry 2i lies 0.25 before i, so at i - 0.296875. (a = -0.5 would give the quarters.)
    ramp = line(np.arange(8), 16)
    np.testing.assert_allclose(ramp[3:13:2], np.arange(1, 6) + 0.296875, atol=1e-6)
    np.testing.assert_allclose(ramp[4:14:2], np.arange(2, 7) - 0.296875, atol=1e-6)
    # Half of the way the weights are symmetric: 8 entries to 4 lie at 2i + 0.5.
    np.testing.assert_allclose(line(np.arange(8), 4)[1:3], [2.5, 4.5], atol=1e-6)


def test_an_entry_spreads_over_rows_and_columns():
    # 4 x 4 to 2 x 2: row 1 weighs 0.59375 and -0.09375 for the two new rows, column 3 weighs 0 and 0.59375 - 0.09375.
    table = np.zeros((4, 4, 1), np.float32)
    table[1, 3] = 1
    expected = [[0, 0.59375 * 0.5], [0, -0.09375 * 0.5]]
    np.testing.assert_allclose(resize_grid(table, (2, 2))[:, :, 0], expected, atol=1e-7)


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (14, 14), (24, 24), (16, 12)])
def test_constants_stay(size):
    table = np.full((14, 10, 3), [1, -2, 0.5], np.float32)
    resized = resize_grid(table, size)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, np.broadcast_to(np.float32([1, -2, 0.5]), (*size, 3)), atol=1e-6)


def test_same_size_changes_no_bit():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(5, 7, 4)).astype(np.float32) * 10 ** rng.uniform(-20, 20, (5, 7, 4)).astype(np.float32)
    np.testing.assert_array_equal(resize_grid(table, (5, 7)), table, strict=True)
    sequence = table.reshape(1, 35, 4)
    np.testing.assert_array_equal(resize_pos_embed(sequence, (5, 7), (5, 7), 0), sequence, strict=True)
    relative = table.reshape(1, 1, 35, 4)
    np.testing.assert_array_equal(resize_relative_pos(relative, (5, 7), (2, 2), (5, 7), (2, 2)), relative, strict=True)


def test_equal_to_pytorch():
    """interpolate(table.permute(2, 0, 1)[None], size, mode="bicubic"), once larger, once taller and narrower."""
    table = numbers("1.5 -0.3 -2.2 0.6 -1.1 -1.4 0.4 0.8 -0.7 -0.4 -0.6 0.2", (2, 3, 2))
    larger = numbers(
        """
        1.997541 -0.523678 -0.012776 0.182864 -2.358203 0.705469 -1.906599 -0.605607 -1.037010 -1.787075 1.549431
        -0.091506 -0.019151 0.215403 -1.860156 0.373437 -1.549600 -0.459513 -0.902869 -1.172950 0.811369 0.620306
        -0.029650 0.268997 -1.039844 -0.173437 -0.961600 -0.218887 -0.681931 -0.161450 0.363259 1.052478 -0.036025
        0.301536 -0.541797 -0.505469 -0.604600 -0.072793 -0.547791 0.452675
        """,
        (4, 5, 2),
    )
    np.testing.assert_allclose(resize_grid(table, (4, 5)), larger, rtol=0, atol=2e-6)
    narrower = numbers(
        """
        0.664347 -0.072032 -1.550301 -0.996581 0.385156 0.240625 -1.070312 -0.446680 0.105965 0.553282 -0.590324
        0.103221
        """,
        (3, 2, 2),
    )
    np.testing.assert_allclose(resize_grid(table, (3, 2)), narrower, rtol=0, atol=2e-6)


def test_relative_position_equal_to_pytorch():
    """Two heads; queries 2 x 3 to 3 x 2, then keys 1 x 2 to 1 x 3, each by interpolate(mode="bicubic")."""
    table = numbers(
        """
        0.5 -0.2 1.4 0.3 0.2 0.9 -0.1 -0.1 -0.7 0.9 1.1 0.2 -0.2 -0.4 0.5 -0.4 -0.4 0.7 1.5 3.4 -1.5 -1.2 1.8 -0.6
        """,
        (1, 2, 6, 2),
    )
    expected = numbers(
        """
        0.920785 0.353270 -0.214246 0.460641 0.652140 0.843640 0.240951 0.122559 0.004166 0.587271 0.587500 0.587729
        -0.438882 -0.108152 0.222578 0.713901 0.522860 0.331819 -0.018986 -0.375671 -0.732355 -0.341168 0.149635
        0.640437 0.295030 0.648145 1.001259 0.440745 0.082129 -0.276487 0.609046 1.671960 2.734873 1.222658 0.014623
        -1.193411
        """,
        (1, 2, 6, 3),
    )
    resized = resize_relative_pos(table, (2, 3), (1, 2), (3, 2), (1, 3))
    assert resized.shape == expected.shape and resized.dtype == np.float32
    np.testing.assert_allclose(resized, expected, rtol=0, atol=2e-6)


def test_relative_position_of_a_product_is_the_product():
    """Where a bias is query part times key part, each part is resized as its own grid."""
    rng = np.random.default_rng(0)
    queries, keys = rng.normal(size=(6, 4, 3)), rng.normal(size=(3, 2, 3))  # the last axis: heads
    table = np.einsum("qh,kh->hqk", queries.reshape(24, 3), keys.reshape(6, 3))[None]
    expected = np.einsum(
        "qh,kh->hqk", resize_grid(queries, (7, 5)).reshape(35, 3), resize_grid(keys, (4, 3)).reshape(12, 3)
    )
    resized = resize_relative_pos(table, (6, 4), (3, 2), (7, 5), (4, 3))
    assert resized.shape == (1, 3, 35, 12)
    np.testing.assert_allclose(resized[0], expected, atol=1e-5)


@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_prefix_tokens_stay_and_the_grid_is_resized(prefix):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(1, prefix + 6, 4)).astype(np.float32)
    resized = resize_pos_embed(table, (2, 3), (4, 2), num_prefix_tokens=prefix)
    assert resized.shape == (1, prefix + 8, 4) and resized.dtype == np.float32
    np.testing.assert_array_equal(resized[:, :prefix], table[:, :prefix])
    expected = resize_grid(table[0, prefix:].reshape(2, 3, 4), (4, 2))
    np.testing.assert_array_equal(resized[0, prefix:].reshape(4, 2, 4), expected)


def test_tables_of_another_form_are_refused():
    with pytest.raises(ValueError, match=r"expected a table \(h, w, C\) .* got \(4, 4\) and \(2, 2\)"):
        resize_grid(np.zeros((4, 4)), (2, 2))
    with pytest.raises(ValueError, match="at least 1"):
        resize_grid(np.zeros((4, 4, 1)), (0, 2))
    with pytest.raises(ValueError, match=r"expected a position table of shape \(1, 1 \+ 4 \* 4, C\), got \(1, 16, 8\)"):
        resize_pos_embed(np.zeros((1, 16, 8)), (4, 4), (2, 2), num_prefix_tokens=1)
    with pytest.raises(ValueError, match=r"\(1, heads, 2 \* 3, 1 \* 2\), got \(1, 2, 5, 2\)"):
        resize_relative_pos(np.zeros((1, 2, 5, 2)), (2, 3), (1, 2), (4, 6), (2, 4))


def test_only_numpy_is_imported():
    code = "import sys, src.layers.pos_embed; assert not {'torch', 'mindspore'} & set(sys.modules)"
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
