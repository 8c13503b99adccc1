"""Stochastic depth: a residual branch is dropped for whole samples."""

import numpy as np
from mindspore import Parameter, ops

from .random_mask import RandomMask


class DropPath(RandomMask):
    """Zeroes a sample's branch with probability `rate` and scales the others by 1 / (1 - rate), in training only.

    A sample is one entry of the first axis: an image for outer tokens, a sentence (patch) for inner tokens. Every
    branch needs an instance of its own: an instance draws one mask a step, so that a shared one would drop the
    branches of a block together.

    Source: Huang et al., Deep Networks with Stochastic Depth, 2016; timm's `drop_path`.

    Args:
        rate: probability of dropping, in [0, 1).
        rows_per_image: samples that an image has.
    """

    def __init__(self, rate: float = 0.0, rows_per_image: int = 1):
        super().__init__(rate)
        self.rows_per_image = rows_per_image
        self.masks, self.index = None, 0
        self.slice, self.reshape = ops.Slice(), ops.Reshape()

    def read_masks(self, masks: Parameter, index: int) -> None:
        """Makes the mask row `index` of `masks` (layers, rows), see `src.layers.step_masks`."""
        object.__setattr__(self, "masks", masks)  # not as a parameter of this layer
        self.index = index

    def construct(self, x):
        if self.rate == 0.0 or not self.training:
            return x
        if self.masks is not None:
            masks = ops.depend(self.masks, x)  # which depends on what assigns them
            mask = self.slice(masks, (self.index, 0), (1, x.shape[0])).astype(x.dtype)
            return x * ops.stop_gradient(self.reshape(mask, (x.shape[0],) + (1,) * (x.ndim - 1)))
        return x * self.mask(x, 1).reshape((x.shape[0],) + (1,) * (x.ndim - 1))


def drop_path_rates(max_rate: float, depth: int) -> list[float]:
    """Rate of each of `depth` blocks, rising linearly from 0 to `max_rate`."""
    return np.linspace(0.0, max_rate, depth).tolist()
