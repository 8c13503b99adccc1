"""Sums and products modulo 2^32 in both forms against NumPy, and the same masks by either."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from src.detection.matcher import Matcher
from src.detection.region_sampling import RegionSampling
from src.layers.drop_path import DropPath
from src.layers.dropout import Dropout
from src.layers.random_mask import mask_state, step_key
from src.layers.step_masks import StepMasks
from src.layers.wrapping import compute_in_64_bits, computes_in_64_bits, wrapping_product, wrapping_sum

LIMITS = np.array([0, 1, -1, 2**31 - 1, -(2**31), 123456789, -987654321], np.int32)


@pytest.fixture(autouse=True)
def usual_form():
    yield
    compute_in_64_bits(False)
    ops.assign(mask_state, Tensor(np.array([0, 0, 1, 1], np.int32)))


class Both(nn.Cell):
    def construct(self, x, y):
        return wrapping_sum(x, y), wrapping_product(x, y), wrapping_sum(x, 311 * 0x1F123BB5), wrapping_product(x, -7)


@pytest.mark.parametrize("wide", [False, True])
def test_they_are_those_modulo_two_to_the_32nd(mode, wide):
    compute_in_64_bits(wide)
    x, y = (part.ravel() for part in np.meshgrid(LIMITS, LIMITS))
    found = [result.asnumpy() for result in Both()(Tensor(x), Tensor(y))]
    x, y = x.astype(object), y.astype(object)
    expected = [x + y, x * y, x + 311 * 0x1F123BB5, x * -7]
    for values, wanted in zip(found, expected, strict=True):
        assert values.dtype == np.int32
        np.testing.assert_array_equal(values, ((wanted + 2**31) % 2**32 - 2**31).astype(np.int32))


class Drops(nn.Cell):
    """A layer of each kind, with the masks of a step."""

    def __init__(self):
        super().__init__()
        self.path, self.drop = DropPath(0.4), Dropout(0.3)
        self.set_train()
        self.masks = StepMasks(nn.CellList([self.path, self.drop]), batch_size=6, num_parts=2)
        self.ones = Tensor(np.ones((6, 5), np.float32))

    def construct(self, step):
        key = step_key(3, step)
        ones = ops.depend(self.ones, self.masks(key, ops.ones((), ms.int32)))
        return self.path(ones), self.drop(ones), key


def test_masks_are_the_same_bits_in_both_forms():
    found = []
    for wide in (False, True):
        compute_in_64_bits(wide)
        found.append([result.asnumpy() for result in Drops()(Tensor(77, ms.int32))])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert 0 < found[0][1].astype(bool).mean() < 1


def test_regions_are_drawn_by_the_same_keys_in_both_forms():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    sampling, key = RegionSampling(Matcher(0.5, 0.5, 0.5, False), stage=2), Tensor([2**31 - 1, -5], ms.int32)
    found = []
    for wide in (False, True):
        compute_in_64_bits(wide)
        found.append(sampling.keys(key, 50).asnumpy())
    np.testing.assert_array_equal(*found)


def test_the_form_is_in_force_until_it_is_changed():
    assert not computes_in_64_bits()
    compute_in_64_bits()
    assert computes_in_64_bits()
