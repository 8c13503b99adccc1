"""The fixed position table, by numbers one can check by hand."""

import math

import numpy as np

from src.layers.sinusoid import sinusoid_table


def test_values():
    table = sinusoid_table(3, 4)
    assert table.shape == (3, 4) and table.dtype == np.float32
    np.testing.assert_array_equal(table[0], [0, 1, 0, 1])
    # 10000^(2 / 4) = 100
    np.testing.assert_allclose(table[1], [math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)], rtol=1e-6)
    np.testing.assert_allclose(table[2], [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)], rtol=1e-6)


def test_odd_width_ends_with_a_sine():
    np.testing.assert_allclose(sinusoid_table(2, 3)[1, 2], math.sin(10000 ** (-2 / 3)), rtol=1e-6)
