"""Boxes from what a head says about anchors or proposals; see `box_coding`."""

import math

import numpy as np
from mindspore import Tensor, nn, ops

from .box_coding import RATIO_CLIP


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

    def construct(self, priors, deltas, width=None, height=None):
        """Width and height of the image in pixels, of shapes that broadcast to (..., 1); None: no clipping."""
        deltas = deltas * self.stds
        left, right = priors[..., :2], priors[..., 2:]
        sizes, centres = right - left, (left + right) * 0.5
        centres = centres + deltas[..., :2] * sizes
        halves = 0.5 * sizes * ops.exp(ops.clamp(deltas[..., 2:], -self.limit, self.limit))
        boxes = self.concat((centres - halves, centres + halves))
        return boxes if width is None else clip_boxes(boxes, width, height)


def clip_boxes(boxes, width, height):
    """Boxes (..., 4) inside of 0 to width and 0 to height, which broadcast to (..., 1)."""
    x0, y0, x1, y1 = (boxes[..., i : i + 1] for i in range(4))
    parts = []
    for value, limit in ((x0, width), (y0, height), (x1, width), (y1, height)):
        parts.append(ops.minimum(ops.maximum(value, 0.0), limit))
    return ops.concat(parts, -1)


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
        sizes, new_sizes = priors[..., 2:] - priors[..., :2], boxes[..., 2:] - boxes[..., :2]
        shifts = (boxes[..., :2] + boxes[..., 2:] - priors[..., :2] - priors[..., 2:]) * 0.5
        return self.concat((shifts / sizes, self.log_ratio(new_sizes, sizes))) / self.stds

    def log_ratio(self, one, other):
        """log(one / other), by Log1p for the reason that `StableSoftplus` gives."""
        more, less = ops.maximum(one - other, 0.0) / other, ops.maximum(other - one, 0.0) / one
        return ops.log1p(more) - ops.log1p(less)
