"""Stochastic depth: a residual branch is dropped for whole samples."""

import numpy as np

from src.layers.random_mask import RandomMask


class DropPath(RandomMask):
    """Zeroes a sample's branch with probability `rate` and scales the others by 1 / (1 - rate), in training only.

    A sample is one entry of the first axis: an image for outer tokens, a sentence (patch) for inner tokens. Every
    branch needs an instance of its own: an instance draws one mask a step, so that a shared one would drop the
    branches of a block together.

    Source: Huang et al., Deep Networks with Stochastic Depth, 2016; timm's `drop_path`.

    Args:
        rate: probability of dropping, in [0, 1).
    """

    def __init__(self, rate: float = 0.0):
        super().__init__(rate)

    def construct(self, x):
        if self.rate == 0.0 or not self.training:
            return x
        return x * self.mask(x.shape[0], 1, x.dtype).reshape((x.shape[0],) + (1,) * (x.ndim - 1))


def drop_path_rates(max_rate: float, depth: int) -> list[float]:
    """Rate of each of `depth` blocks, rising linearly from 0 to `max_rate`."""
    return np.linspace(0.0, max_rate, depth).tolist()
