"""Masks of dropout and stochastic depth as a function of seed, step and position in the global batch.

MindSpore fixes the seeds of `nn.Dropout` when the Cell is built and does not save its state: a resumed run would see
other masks, and so would the same images on another number of devices. Here a mask is a hash of (key of the step,
layer, position of the image in the global batch, element), in 32-bit integers that wrap (`src.layers.wrapping`).

The training step numbers the layers (`number_masks`) and assigns `mask_state` at every step. Layers that nobody has
numbered use MindSpore's own randomness, so that a network can be trained by any other loop too.
"""

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore import dtype as mstype

from .whole_numbers import whole_numbers
from .wrapping import wrapping_product, wrapping_sum

NOT_NUMBERED = -1

mask_state = Parameter(Tensor([0, 0, 1, 1], mstype.int32), name="mask_state", requires_grad=False)
"""The step's key; which part of the global batch is here, of how many, and how many images a part has. Image j of a
part has the position `num_parts * j + part`, in the second half of the part `num_parts * j + (num_parts - 1 - part)`:
what `src.data.epoch_order.positions` deals out."""

LAYER_FACTOR, ROW_FACTOR, COLUMN_FACTOR = 0x1F123BB5, 0x27D4EB2F, 0x165667B1
_MULTIPLIER_1, _MULTIPLIER_2 = 0x7FEB352D, -0x7B935975
"""Odd numbers with well-spread bits; the last two are those of C. Wellons, "Prospecting for Hash Functions", 2018."""


class RandomMask(nn.Cell):
    """Base of the layers that drop something at random.

    Args:
        rate: probability of dropping, in [0, 1).

    Raises:
        ValueError: rate is out of range.
    """

    def __init__(self, rate: float):
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"expected a rate of at least 0 and below 1, got {rate}")
        self.rate = rate
        self.layer = NOT_NUMBERED
        self.dropout, self.entries = nn.Dropout(p=rate), ops.Unstack()
        self.threshold = round(rate * 2**32) - 2**31  # of 2^32 values from -2^31 on

    def mask(self, x, columns):
        """The mask of x (rows, ...), (rows, columns): 0 with probability `rate`, else 1 / (1 - rate).

        Each image has the same number of rows.

        Fewer rows than images are those of a table that all images share; every part has the same mask of it then.
        """
        rows, dtype = x.shape[0], x.dtype
        if self.layer == NOT_NUMBERED:
            return self.dropout(ops.ones((rows, columns), dtype))
        row = whole_numbers(rows)
        state = ops.depend(mask_state, x)  # which depends on what assigns it
        key, part, num_parts, size = self.entries(state)
        rows_per_image = ops.maximum(ops.floor_div(rows, size), 1)
        image = ops.floor_div(row, rows_per_image)
        in_first_half = 2 * image < size
        mirrored = num_parts - 1 - part
        position = num_parts * image + ops.select(in_first_half, part.expand_as(row), mirrored.expand_as(row))
        of_batch = position * rows_per_image + row - image * rows_per_image
        row = ops.select((rows < size).expand_as(row), row, of_batch)
        column = _hash(wrapping_product(whole_numbers(columns), COLUMN_FACTOR))
        keep = mask_bits(row_words(row, self.layer).reshape(-1, 1), key, column) >= self.threshold
        return ops.stop_gradient(keep.astype(dtype) * (1.0 / (1.0 - self.rate)))


def number_masks(net: nn.Cell) -> None:
    """Makes the masks of `net` a function of `mask_state`, each layer's another one."""
    layers = [cell for _, cell in net.cells_and_names() if isinstance(cell, RandomMask)]
    for number, layer in enumerate(layers):
        layer.layer = number


def row_words(row, layer):
    """Words of the rows (int32) of a layer: row * ROW_FACTOR + layer * LAYER_FACTOR."""
    return wrapping_sum(wrapping_product(row, ROW_FACTOR), layer * LAYER_FACTOR)


def mask_bits(words, key, column=0):
    """Bits of an element, int32: `words` as of `row_words`; `column` is hashed, 0 for the first column."""
    return _hash(wrapping_sum(_hash(wrapping_sum(_hash(words), key)), column))


def to_int32(values: np.ndarray) -> np.ndarray:
    """Whole numbers modulo 2^32, as int32."""
    return (values % 2**32).astype(np.uint32).view(np.int32)


def step_key(seed: int, step):
    """Key of a step, int32: `step` is the number of the step, an int32 Tensor."""
    return _hash(wrapping_sum(_hash(step), seed * LAYER_FACTOR % 2**31))


def _hash(x):
    """A bijection of int32 that spreads every bit over all."""
    x = wrapping_product(ops.bitwise_xor(x, _shift_right(x, 16)), _MULTIPLIER_1)
    x = wrapping_product(ops.bitwise_xor(x, _shift_right(x, 15)), _MULTIPLIER_2)
    return ops.bitwise_xor(x, _shift_right(x, 16))


def _shift_right(x, places):
    """x >> places without its sign, which `bitwise_right_shift` repeats. The places have the shape of x, because the
    GPU's kernel refuses a tensor of one element with a number."""
    return ops.bitwise_and(ops.bitwise_right_shift(x, ops.full_like(x, places)), 2 ** (32 - places) - 1)
