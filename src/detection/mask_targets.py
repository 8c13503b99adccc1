"""What the mask head is to say about a region: the object's mask within the region's box, on a small grid.

Source: He et al., Mask R-CNN, 2017, section 3.1; as mmdetection 3.3.0 does it of bitmaps: RoIAlign of the mask, set
where it is at least one half.

A bin of the grid is the mean of bilinear samples of the mask, as many along a side as the bin has pixels, rounded up.
Their weights for the rows and the columns of the mask have a closed form, so the whole is two matrix products, made in
the graph, because only there the regions are known.
"""

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from ..layers.whole_numbers import whole_numbers
from .boxes_in_graph import split_sides


class MaskTargets(nn.Cell):
    """Masks (R, H, W) and boxes (R, 4) in their pixels, clipped to them -> (R, size, size) float32, 0 or 1.

    Args:
        size: bins along a side.
    """

    def __init__(self, size: int = 28):
        super().__init__()
        self.size = size
        self.bins = Tensor(np.arange(size, dtype=np.float32).reshape(1, -1))

    def construct(self, masks, boxes):
        x0, y0, x1, y1 = split_sides(boxes - 0.5)
        rows, columns = self.weights(y0, y1, masks.shape[1]), self.weights(x0, x1, masks.shape[2])
        means = ops.bmm(ops.bmm(rows, masks.astype(mstype.float32)), ops.transpose(columns, (0, 2, 1)))
        return (means >= 0.5).astype(mstype.float32)

    def weights(self, start, end, length):
        """Where boxes start and end (R, 1) on an axis of `length` pixels -> (R, size, length).

        A pixel's bilinear weight is a second difference of ramps, and a sum of ramps over evenly spaced samples one of
        a row of whole numbers. What is beyond the first or last pixel counts as that.
        """
        bin_size = ((end - start) / self.size).reshape(-1, 1, 1)
        count = ops.ceil(bin_size)
        step = bin_size / ops.maximum(count, 1.0)
        first = start.reshape(-1, 1, 1) + self.bins.reshape(1, -1, 1) * bin_size  # (R, size, 1)
        pixels = whole_numbers(length).astype(mstype.float32).reshape(1, 1, -1)
        at = pixels - first  # of each pixel, from the bin's start
        number = ops.floor(at / ops.maximum(step, 1e-6) + 0.5)  # of samples up to there
        number = ops.minimum(ops.maximum(number, 0.0), count)
        ramps = number * at - step * number * number * 0.5
        share = (ramps[:, :, 1:] - ramps[:, :, :-1]) / ops.maximum(count, 1.0)
        none = ops.zeros((share.shape[0], self.size, 1), mstype.float32)
        there = none + (count > 0.0).astype(mstype.float32)
        return ops.concat((share, there), 2) - ops.concat((none, share), 2)
