"""Features of regions: a grid of fixed size from whatever part of the maps a box covers.

Source: He et al., Mask R-CNN, 2017, section 3 (RoIAlign); Lin et al., Feature Pyramid Networks, 2017, section 4.2
(which map); numbers as in mmdetection 3.3.0's SingleRoIExtractor with mmcv's RoIAlign, aligned.

A bin is the mean of bilinear samples, and so a weighted sum of the map's cells, whose weights are products of one for
the row and one for the column. So the cells that a region covers are gathered once, all regions of all maps from one
table, and multiplied by a matrix of weights from each side. The number of samples follows each region's size, and
costs nothing.
"""

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from .boxes_in_graph import split_sides

FINEST_SCALE = 56
"""A region of up to twice this side is cut out of the finest map."""


class RoIAlign(nn.Cell):
    """Maps (B, C, H_l, W_l) and regions -> (R, C, size, size).

    A region that covers more than `window` - 2 rows or columns of its map is sampled at `window` of them, evenly
    spread: that differs from what the paper computes, and concerns long or very large boxes only.

    Args:
        size: bins along a side.
        strides: pixels between two cells of each map.
        window: cells along a side that are looked at.
        sampling_ratio: samples along a side of a bin; 0: as many as it has cells, rounded up.
    """

    def __init__(self, size: int, strides: Sequence[int] = (4, 8, 16, 32), window: int = 32, sampling_ratio: int = 0):
        super().__init__()
        self.size, self.num_maps, self.window, self.ratio = size, len(strides), window, sampling_ratio
        self.max_samples = sampling_ratio or -(-(window - 2) // size)
        self.strides = Tensor(np.array(strides, np.float32))
        places = np.arange(window) + 0.5  # of the cells of a region that is too large, in its side / window
        bins = (places * size / window).astype(int) == np.arange(size)[:, None]
        self.spread_places = Tensor((places / window).astype(np.float32).reshape(1, -1))
        self.spread_weights = Tensor((bins / np.maximum(bins.sum(axis=1, keepdims=True), 1)).astype(np.float32)[None])
        self.bins = Tensor(np.arange(size, dtype=np.float32).reshape(1, -1))
        self.steps = Tensor(np.arange(window, dtype=np.float32).reshape(1, -1))

    def levels(self, boxes):
        """The map of each region, (R,) int32, by its area."""
        x0, y0, x1, y1 = split_sides(boxes)
        sides = ops.sqrt(ops.maximum((x1 - x0) * (y1 - y0), 0.0)).reshape(-1)
        scale, level = sides / FINEST_SCALE + 1e-6, ops.zeros(sides.shape, mstype.int32)
        for coarser in range(1, self.num_maps):
            level = level + (scale >= 2.0**coarser).astype(mstype.int32)
        return level

    def construct(self, maps, images, boxes):
        """Maps, the image (R,) int32 of each region, and boxes (R, 4) in pixels of the canvas; 0 for what is not
        finite, which is no place in a map."""
        boxes = ops.select(ops.isfinite(boxes), boxes, ops.zeros_like(boxes))
        level, tables, offset = self.levels(boxes), (), 0
        height, width, first = ops.zeros_like(level), ops.zeros_like(level), ops.zeros_like(level)
        for number in range(self.num_maps):
            x = maps[number]
            is_here = (level == number).astype(mstype.int32)
            height, width = height + is_here * x.shape[2], width + is_here * x.shape[3]
            first = first + is_here * (offset + images * (x.shape[2] * x.shape[3]))
            offset = offset + x.shape[0] * x.shape[2] * x.shape[3]
            tables = tables + (ops.transpose(x, (0, 2, 3, 1)).reshape(-1, x.shape[1]),)
        table = ops.concat(tables, 0)
        x0, y0, x1, y1 = split_sides(boxes / ops.gather(self.strides, level, 0).reshape(-1, 1) - 0.5)
        rows, row_weights = self.axis(y0, y1, height)
        columns, column_weights = self.axis(x0, x1, width)
        places = first.reshape(-1, 1) + rows * width.reshape(-1, 1)  # (R, window)
        window = self.window
        places = ops.tile(places.reshape(-1, window, 1), (1, 1, window)) + ops.tile(
            columns.reshape(-1, 1, window), (1, window, 1)
        )
        count, channels = boxes.shape[0], table.shape[1]
        cells = ops.gather(table, ops.stop_gradient(places.reshape(-1)), 0)
        row_weights = ops.stop_gradient(row_weights).astype(table.dtype)
        column_weights = ops.stop_gradient(column_weights).astype(table.dtype)
        of_rows = ops.bmm(row_weights, cells.reshape(count, window, window * channels))
        column_weights = ops.tile(column_weights.reshape(count, 1, self.size, window), (1, self.size, 1, 1))
        bins = ops.bmm(
            column_weights.reshape(-1, self.size, window), of_rows.reshape(count * self.size, window, channels)
        )
        return ops.transpose(bins.reshape(count, self.size, self.size, channels), (0, 3, 1, 2))

    def axis(self, start, end, length):
        """Along one axis, in cells: where regions start and end (R, 1), and the map's length (R,) int32 -> the cells
        that are looked at (R, window) int32, and their weights in each bin (R, size, window)."""
        last = (length - 1).astype(mstype.float32).reshape(-1, 1)
        extent = end - start
        bin_size = extent / self.size
        count = ops.zeros_like(bin_size) + self.ratio if self.ratio else ops.ceil(bin_size)
        first = ops.minimum(ops.maximum(ops.floor(start), 0.0), last)
        cells = first + self.steps  # (R, window)
        weights = ops.zeros((start.shape[0], self.size, self.window), mstype.float32)
        starts = start + self.bins * bin_size  # (R, size)
        for sample in range(self.max_samples):
            at = starts + (sample + 0.5) * bin_size / ops.maximum(count, 1.0)
            inside = ops.logical_and(at >= -1.0, at <= last + 1.0)
            share = ops.logical_and(inside, sample < count).astype(mstype.float32) / ops.maximum(count, 1.0)
            at = ops.minimum(ops.maximum(at, 0.0), last)
            distance = ops.tile(at.reshape(-1, self.size, 1), (1, 1, self.window)) - ops.tile(
                cells.reshape(-1, 1, self.window), (1, self.size, 1)
            )
            weights = weights + ops.maximum(1.0 - ops.abs(distance), 0.0) * share.reshape(-1, self.size, 1)
        fits = extent <= self.window - 2.0
        spread = ops.floor(ops.minimum(ops.maximum(start + self.spread_places * extent + 0.5, 0.0), last))
        spread_weights = ops.tile(self.spread_weights, (start.shape[0], 1, 1))
        cells = ops.select(ops.tile(fits, (1, self.window)), ops.minimum(cells, last), spread)
        weights = ops.select(ops.tile(fits.reshape(-1, 1, 1), (1, self.size, self.window)), weights, spread_weights)
        return cells.astype(mstype.int32), weights
