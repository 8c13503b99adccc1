"""The look at a device's arithmetic passes here, and stops a run on a device that computes otherwise."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.devices import self_check
from src.devices.self_check import BITS, KEY, NUM_ONES, WORDS, check_arithmetic
from src.errors import UserError
from src.layers.wrapping import compute_in_64_bits, computes_in_64_bits


def hash32(x):
    x = x ^ x >> 16
    x = x * 0x7FEB352D % 2**32
    x = x ^ x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ x >> 16


def test_stored_bits_are_those_of_whole_numbers():
    bits = [hash32(hash32((hash32(word % 2**32) + KEY) % 2**32)) for word in WORDS]
    assert [value - 2**32 if value >= 2**31 else value for value in bits] == list(BITS)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_it_passes(precision):
    assert check_arithmetic(precision) == []


@pytest.fixture
def usual_form():
    yield
    compute_in_64_bits(False)


def test_masks_are_computed_in_64_bits_where_32_bits_saturate(monkeypatch, usual_form):
    saturating = Wrong((2**31 - 1, *BITS[1:]), NUM_ONES)
    true = self_check._Arithmetic
    monkeypatch.setattr(self_check, "_Arithmetic", lambda dtype: true(dtype) if computes_in_64_bits() else saturating)
    (line,) = check_arithmetic("float32")
    assert "do not wrap on this CPU" in line and "computed in 64 bits" in line
    assert computes_in_64_bits()


class Wrong:
    """A device that saturates, or that adds in half precision."""

    def __init__(self, bits, total):
        self.results = Tensor(np.array(bits, np.int32)), Tensor([[total]], ms.float32)

    def __call__(self, *inputs):
        return self.results


@pytest.mark.parametrize(
    ("bits", "total", "said"),
    [
        ((2**31 - 1, *BITS[1:]), NUM_ONES, "products of 32 and 64-bit integers"),
        (BITS, 2048.0, "sums in float16: 2048 where 4096 ones were added"),
        (BITS, float("nan"), "sums in float16: nan"),
    ],
)
def test_a_device_that_computes_otherwise_is_refused(monkeypatch, bits, total, said):
    monkeypatch.setattr(self_check, "_Arithmetic", lambda dtype: Wrong(bits, total))
    with pytest.raises(UserError, match=rf"CPU computes other values.*{said}.*check_device.py --device CPU") as error:
        check_arithmetic("float16")
    assert not computes_in_64_bits()
    assert "\n" not in str(error.value)
