"""Masks against a NumPy version of the documented hash, over parts of a batch, and as random numbers."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from src.data.epoch_order import positions
from src.layers.drop_path import DropPath
from src.layers.dropout import Dropout
from src.layers.random_mask import mask_state, number_masks, step_key


@pytest.fixture(autouse=True)
def state_of_one_part():
    yield
    set_state(0)


@pytest.fixture
def pynative():
    """Saves compiling, where the bits are compared in both modes elsewhere."""
    ms.set_context(mode=ms.PYNATIVE_MODE)


def set_state(key, part=0, num_parts=1, part_size=1):
    ops.assign(mask_state, Tensor(np.array([key, part, num_parts, part_size], np.int32)))


def numbered(layer, number=0):
    """The layer in training mode, as the one with this number in a network."""
    number_masks(nn.CellList([nn.CellList([Dropout(0.5) for _ in range(number)]), layer]))
    return layer.set_train()


def draw(layer, rows, columns=None):
    """0 where it drops, 1 where it keeps: (rows, columns), or (rows,) for a DropPath."""
    got = layer(Tensor(np.ones((rows, 1 if columns is None else columns), np.float32))).asnumpy()
    assert set(np.unique(got * np.float32(1 - layer.rate)).round(5)) <= {0.0, 1.0}
    return (got > 0).astype(int) if columns is not None else (got[:, 0] > 0).astype(int)


def hash32(x):
    """lowbias32 of C. Wellons on an array of uint32."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def words(values):
    """Whole numbers modulo 2^32."""
    return (np.asarray(values, np.int64) % 2**32).astype(np.uint32)


def expected_mask(rate, number, key, rows, columns):
    """Of the rows `rows` of the global batch."""
    of_row = hash32(hash32(words(np.asarray(rows) * 0x27D4EB2F + number * 0x1F123BB5)) + words(key))
    of_column = hash32(words(np.arange(columns) * 0x165667B1))
    bits = hash32(of_row[:, None] + of_column).view(np.int32).astype(np.int64)
    return (bits >= round(rate * 2**32) - 2**31).astype(int)


def test_bits_equal_the_documented_hash(mode):
    """The last layer's number times its constant is far beyond 32 bits."""
    path, drop = numbered(DropPath(0.6)), numbered(Dropout(0.3), 311)
    for key in (12345, -987654321, 2**31 - 1):
        set_state(key, part_size=4)
        np.testing.assert_array_equal(draw(path, 8), expected_mask(0.6, 0, key, np.arange(8), 1)[:, 0])
        np.testing.assert_array_equal(draw(drop, 12, 5), expected_mask(0.3, 311, key, np.arange(12), 5))


def test_key_equals_the_documented_hash(mode):
    for seed, step in ((0, 0), (3, 1), (2**31 - 1, 400_000), (10**12, 77)):
        expected = hash32(hash32(words([step])) + words(seed * 0x1F123BB5 % 2**31)).view(np.int32)
        assert int(step_key(seed, Tensor(step, ms.int32)).asnumpy()) == int(expected[0])


class Masks(nn.Cell):
    """Masks of a state, over inputs with one, three and several entries for each image, and for the whole batch."""

    def __init__(self):
        super().__init__()
        self.path, self.words, self.drop, self.table = DropPath(0.5), DropPath(0.4), Dropout(0.3), Dropout(0.5)
        number_masks(self)
        self.set_train()

    def construct(self, images):
        words = ops.ones((3 * images.shape[0], 2, 2), ms.float32)
        return self.path(images), self.words(words), self.drop(words), self.table(ops.ones((1, 50), ms.float32))


@pytest.mark.parametrize("num_parts,size", [(1, 12), (2, 6), (6, 2), (4, 3)])
def test_parts_have_the_masks_of_the_whole_batch(num_parts, size, mode):
    """Where the loader has put their images; rows of an image are together; a table's mask is that of every part.

    Rank r's micro-batch m is part m + accumulate * r, so that ranks and micro-batches need no cases of their own.
    """
    masks = Masks()
    set_state(4711, 0, 1, num_parts * size)
    whole = [m.asnumpy() for m in masks(Tensor(np.ones((num_parts * size, 5), np.float32)))]
    assert all(0 < (m == 0).mean() < 1 for m in whole)
    for part in range(num_parts):
        set_state(4711, part, num_parts, size)
        *got, table = [m.asnumpy() for m in masks(Tensor(np.ones((size, 5), np.float32)))]
        at = positions(part, num_parts, size, paired=False)
        for mask, all_rows in zip(got, whole, strict=False):
            per_image = all_rows.reshape(num_parts * size, -1, *all_rows.shape[1:])
            np.testing.assert_array_equal(mask, per_image[at].reshape(mask.shape))
        np.testing.assert_array_equal(table, whole[-1])


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_rates(rate, pynative):
    """Over all elements, and over every row and column of 400 x 400: none further off than 5 standard deviations."""
    set_state(99, part_size=400)
    dropped = 1 - draw(numbered(Dropout(rate), 5), 400, 400)
    deviation = np.sqrt(rate * (1 - rate))
    assert abs(dropped.mean() - rate) < 5 * deviation / 400
    for axis in (0, 1):
        assert np.abs(dropped.mean(axis) - rate).max() < 5 * deviation / 20
        assert dropped.mean(axis).std() == pytest.approx(deviation / 20, rel=0.2)


def largest_correlation(rows):
    correlations = np.corrcoef(rows)
    return np.abs(correlations - np.eye(len(rows))).max()


def test_rows_and_columns_are_independent_in_pairs(pynative):
    """Of 4,950 correlations over 4,000 entries, with standard deviation 0.016, none is as large as 0.08."""
    set_state(7, part_size=100)
    drop = numbered(Dropout(0.5))
    assert largest_correlation(draw(drop, 100, 4000)) < 0.08
    set_state(7, part_size=4000)
    assert largest_correlation(draw(drop, 4000, 100).T) < 0.08


def keys_of(seed, steps):
    return step_key(seed, Tensor(np.asarray(steps, np.int32))).asnumpy()


def test_layers_steps_and_seeds_are_independent_in_pairs(pynative):
    """Of stochastic depth for 4,000 images (by the documented hash): 40 layers at a step, 60 steps, 40 seeds."""
    keys = [*keys_of(0, range(61)), *(keys_of(seed, [0])[0] for seed in range(1, 41))]
    drawn = [(number, keys[0]) for number in range(40)] + [(0, key) for key in keys[1:]]
    masks = [expected_mask(0.5, number, int(key), np.arange(4000), 1)[:, 0] for number, key in drawn]
    assert largest_correlation(np.array(masks)) < 0.08  # 9,730 pairs


def test_an_images_masks_are_independent_over_steps(pynative):
    """One after the other, for each of 8 images: no order in 2,000 steps."""
    masks = np.array([expected_mask(0.5, 0, int(key), np.arange(8), 1)[:, 0] for key in keys_of(1, range(2000))])
    for lag in (1, 2, 3):
        for image in range(8):
            assert abs(np.corrcoef(masks[lag:, image], masks[:-lag, image])[0, 1]) < 0.11


def test_layers_without_a_number_use_the_frameworks_randomness(mode):
    drop = Dropout(0.5).set_train()
    set_state(5, part_size=64)
    first, second = draw(drop, 64, 8), draw(drop, 64, 8)
    assert (first != second).any()
    assert (first != draw(Dropout(0.5).set_train(), 64, 8)).any()


def test_evaluation_and_rate_0_drop_nothing(mode):
    x = Tensor(np.ones((16, 4), np.float32))
    for layer in (Dropout(0.5).set_train(False), numbered(Dropout(0.0)), DropPath(0.5).set_train(False)):
        np.testing.assert_array_equal(layer(x).asnumpy(), x.asnumpy())


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_refuses_rates_out_of_range(rate):
    with pytest.raises(ValueError, match="expected a rate of at least 0 and below 1"):
        Dropout(rate)


def test_numbering_gives_every_layer_another_number():
    net = Masks()
    assert sorted(layer.layer for layer in (net.path, net.words, net.drop, net.table)) == [0, 1, 2, 3]
