"""A look, at the start of a run, at arithmetic that this project relies on and that a device may do otherwise."""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ..errors import UserError
from ..layers.random_mask import mask_bits
from ..layers.wrapping import compute_in_64_bits
from ..rule import Precision
from .device import current_device

WORDS = (1, -2, 0x7FFFFFFF, -0x80000000, 123456789)
KEY = 0x2545F491
BITS = (-118119781, 907599638, 1757769994, -1462111798, -1355099319)
"""Of WORDS and KEY, by Python's integers modulo 2^32 (tests/devices/test_self_check.py)."""

NUM_ONES = 4096
"""Twice what a sum in float16 reaches by ones."""


class _Arithmetic(nn.Cell):
    def __init__(self, dtype: ms.Type):
        super().__init__()
        self.dtype = dtype
        self.matmul = ops.MatMul()

    def construct(self, words, ones):
        """The bits of words, and the number of ones, (1, N), as a product in the precision."""
        row = ones.astype(self.dtype)
        return mask_bits(words, KEY), self.matmul(row, row.reshape(-1, 1)).astype(ms.float32)


def check_arithmetic(precision: Precision) -> list[str]:
    """Compares integer products that wrap, the hash that the masks of dropout are made of, and a sum in the training
    precision with what they must be; takes milliseconds once it is compiled.

    Where 32-bit integers do not wrap, the masks are made of 64 bits from then on, if those are right.

    Args:
        precision: of the training's products.

    Returns:
        What was chosen, as lines for the log; none as a rule.

    Raises:
        UserError: the device computes something else.
    """
    bits, total = _compute(precision)
    lines = []
    if bits != BITS:
        compute_in_64_bits()
        bits = _compute(precision)[0]
        lines.append(
            f"products of 32-bit integers do not wrap on this {current_device()}: the masks of dropout and stochastic "
            "depth are computed in 64 bits, with the same bits as elsewhere"
        )
    wrong = []
    if bits != BITS:
        compute_in_64_bits(False)
        wrong.append("products of 32 and 64-bit integers, which the masks of dropout and stochastic depth are made of")
    if total != NUM_ONES:
        wrong.append(f"sums in {precision}: {total:g} where {NUM_ONES} ones were added")
    if wrong:
        device = current_device()
        raise UserError(
            f"{device} computes other values than it must ({'; '.join(wrong)}): a network would train wrongly, so "
            f"nothing was started; python check_device.py --device {device} tells more"
        )
    return lines


def _compute(precision: Precision) -> tuple[tuple[int, ...], float]:
    """The bits of `WORDS`, and the number of ones."""
    cell = _Arithmetic(getattr(ms, precision))
    bits, total = cell(Tensor(np.array(WORDS, np.int32)), Tensor(np.ones((1, NUM_ONES), np.float32)))
    return tuple(bits.asnumpy().tolist()), total.asnumpy().item()
