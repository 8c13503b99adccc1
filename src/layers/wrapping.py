"""Sums and products of 32-bit integers modulo 2^32, of which the masks of dropout and stochastic depth are made.

Devices compute them so by themselves, as a rule. For one whose 32-bit integers saturate there is a form of 64 bits,
which reaches no limit and gives the same bits; `src.devices.self_check` chooses it.
"""

from mindspore import dtype as mstype
from mindspore import ops

_HALF, _ALL = 2**31, 2**32


class _Form:
    """Which form graphs are compiled with from now on."""

    is_wide = False


def compute_in_64_bits(wanted: bool = True) -> None:
    """Chooses the form of 64 bits, or again that of 32, for the graphs that are compiled afterwards."""
    _Form.is_wide = wanted


def computes_in_64_bits() -> bool:
    return _Form.is_wide


def wrapping_sum(x, y):
    """x + y modulo 2^32, int32: an int32 Tensor, and another or a whole number."""
    return _to_32_bits(x.astype(mstype.int64) + y) if computes_in_64_bits() else x + y


def wrapping_product(x, y):
    """x * y modulo 2^32, int32: an int32 Tensor, and another or a whole number of 32 bits."""
    return _to_32_bits(x.astype(mstype.int64) * y) if computes_in_64_bits() else x * y


def _to_32_bits(x):
    """int64, of less than 2^63 - 2^31, modulo 2^32 as int32."""
    return (ops.bitwise_and(x + _HALF, _ALL - 1) - _HALF).astype(mstype.int32)
