"""Boxes from what a head says about anchors or proposals; see `box_coding`."""

import math

import numpy as np
from mindspore import Tensor, nn, ops

from .box_coding import RATIO_CLIP
from .boxes_in_graph import split_halves


class DecodeBoxes(nn.Cell):
    """Priors (..., 4), deltas (..., 4) -> boxes (..., 4), clipped to an image.

    Args:
        stds: deltas are multiplied by them.
        ratio_clip: see `RATIO_CLIP`.
    """

    def __init__(self, stds: tuple[float, float, float, float] = (1.0,) * 4, ratio_clip: float = RATIO_CLIP):
        super().__init__()
        self.stds = Tensor(np.array(stds, np.float32))
        self.limit = abs(math.log(ratio_clip))
        self.concat = ops.Concat(axis=-1)

    def construct(self, priors, deltas, limits=None):
        """The largest x, y, x, y of the image, of a shape that broadcasts to (..., 4); None: no clipping."""
        shifts, logarithms = split_halves(deltas * self.stds)
        low, high = split_halves(priors)
        sizes, centres = high - low, (low + high) * 0.5
        centres = centres + shifts * sizes
        halves = 0.5 * sizes * ops.exp(ops.clamp(logarithms, -self.limit, self.limit))
        boxes = self.concat((centres - halves, centres + halves))
        return boxes if limits is None else ops.minimum(ops.maximum(boxes, 0.0), limits)


class EncodeBoxes(nn.Cell):
    """Priors (..., 4), boxes (..., 4) -> deltas (..., 4): what `DecodeBoxes` turns back.

    Args:
        stds: deltas are divided by them.
    """

    def __init__(self, stds: tuple[float, float, float, float] = (1.0,) * 4):
        super().__init__()
        self.stds = Tensor(np.array(stds, np.float32))
        self.concat = ops.Concat(axis=-1)

    def construct(self, priors, boxes):
        low, high = split_halves(priors)
        new_low, new_high = split_halves(boxes)
        sizes, new_sizes = high - low, new_high - new_low
        shifts = (new_low + new_high - low - high) * 0.5
        return self.concat((shifts / sizes, self.log_ratio(new_sizes, sizes))) / self.stds

    def log_ratio(self, one, other):
        """log(one / other), by Log1p for the reason that `StableSoftplus` gives."""
        more, less = ops.maximum(one - other, 0.0) / other, ops.maximum(other - one, 0.0) / one
        return ops.log1p(more) - ops.log1p(less)
