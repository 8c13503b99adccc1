"""Dropout of single elements."""

from .random_mask import RandomMask


class Dropout(RandomMask):
    """Zeroes elements with probability `rate` and scales the others by 1 / (1 - rate), in training only.

    Args:
        rate: probability of dropping, in [0, 1).
    """

    def __init__(self, rate: float):
        super().__init__(rate)

    def construct(self, x):
        if self.rate == 0.0 or not self.training:
            return x
        columns = 1
        for side in x.shape[1:]:
            columns = columns * side
        return x * self.mask(x, columns).reshape(x.shape)
