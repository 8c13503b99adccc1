"""The best boxes, none of which covers another: in the graph, with static shapes, ties by the lower index.

MindSpore's TopK and Sort order equal values arbitrarily, each device in its way; here whole numbers that are all
different are sorted instead, so that a detector gives the same boxes in the same order everywhere. They are float32,
because there is no TopK of integers on GPUs.
"""

from mindspore import dtype as mstype
from mindspore import nn, ops

from ..layers.whole_numbers import whole_numbers
from .rows import rows_of_batch

EXACT = 2**24
"""Whole numbers up to it, and down to its negative, are float32 without rounding."""


class TopRows(nn.Cell):
    """The k largest of scores (n,), the largest first, of equal ones that with the lower index: (k,), (k,) int32.

    Of a batch of scores (B, n), those of each row: (B, k), (B, k).

    Args:
        k: of n scores, all where there are no more.
    """

    def __init__(self, k: int):
        super().__init__()
        self.k = k
        self.top, self.columns = ops.TopK(sorted=True), ops.Slice()

    def construct(self, scores):
        if scores.ndim == 1:
            values, rows = self.of_batch(scores.reshape(1, -1))
            return values.reshape(-1), rows.reshape(-1)
        return self.of_batch(scores)

    def of_batch(self, scores):
        n = scores.shape[1]
        if n > self.k:
            least = self.columns(self.top(scores, self.k)[0], (0, self.k - 1), (scores.shape[0], 1))
            above, equal = scores > least, scores == least
            room = self.k - above.astype(mstype.int32).sum(axis=1, keepdims=True)
            first_equal = ops.logical_and(equal, ops.cumsum(equal.astype(mstype.int32), 1) <= room)
            chosen = ops.logical_or(above, first_equal)
            keys = ops.select(chosen, n - self.indices(scores, n), ops.zeros(scores.shape, mstype.int32))
            rows = n - self.top(keys.astype(mstype.float32), self.k)[0].astype(mstype.int32)  # rising
            values = ops.gather_elements(scores, 1, rows)
        else:
            rows, values = self.indices(scores, n), scores
        order = self.order(values)
        return ops.gather_elements(values, 1, order), ops.gather_elements(rows, 1, order)

    def indices(self, scores, n):
        return ops.tile(whole_numbers(n).reshape(1, -1), (scores.shape[0], 1))

    def order(self, values):
        """The permutation of (B, k) that sorts."""
        k = values.shape[1]
        if k == 1:
            return self.indices(values, k)
        if k * k > 2 * EXACT:
            return self.order_by_pairs(values)
        sorted_values, rows = self.top(values, k)  # of equal ones in any order
        size = (values.shape[0], k - 1)
        is_lower = self.columns(sorted_values, (0, 1), size) < self.columns(sorted_values, (0, 0), size)
        run = ops.cumsum(is_lower.astype(mstype.int32), 1)
        run = ops.concat((ops.zeros((values.shape[0], 1), mstype.int32), run), 1)  # of equal values
        keys = EXACT - (run * k + rows)
        return ops.gather_elements(rows, 1, self.top(keys.astype(mstype.float32), k)[1])

    def order_by_pairs(self, values):
        """The same for any k, in k * k comparisons: a row's place is the number of those that come before it."""
        k = values.shape[1]
        own, other = ops.tile(values.reshape(-1, k, 1), (1, 1, k)), ops.tile(values.reshape(-1, 1, k), (1, k, 1))
        index = self.indices(values, k)
        earlier = ops.tile(index.reshape(-1, 1, k), (1, k, 1)) < ops.tile(index.reshape(-1, k, 1), (1, 1, k))
        before = ops.logical_or(other > own, ops.logical_and(other == own, earlier))
        place = before.astype(mstype.int32).sum(axis=2)
        return self.top((k - 1 - place).astype(mstype.float32), k)[1]


class Suppress(nn.Cell):
    """Boxes (B, n, 4) of each image by falling score, labels (B, n), valid (B, n) -> (B, n) bool: those that stay.

    A box goes when its IoU with one that stays, of its image and class, is above the threshold.

    Args:
        iou_threshold: above it the lower one goes.
    """

    def __init__(self, iou_threshold: float):
        super().__init__()
        self.nms = ops.NMSWithMask(iou_threshold)
        self.concat, self.images = ops.Concat(axis=2), ops.Unstack(axis=0)
        self.largest, self.smallest = ops.ReduceMax(keep_dims=True), ops.ReduceMin(keep_dims=True)

    def construct(self, boxes, labels, valid):
        batch, n = labels.shape
        span = ops.maximum(self.largest(boxes, (1, 2)), -self.smallest(boxes, (1, 2))) * 2.0 + 1.0  # B 1 1
        labels = ops.select(valid, labels, labels * 0 - 1).astype(mstype.float32).reshape(batch, n, 1)
        moved = boxes + labels * span
        where = ops.tile(valid.reshape(batch, n, 1), (1, 1, 4))
        moved = ops.select(where, moved, ops.zeros_like(moved) - span)  # without area
        ranks = (n - whole_numbers(n)).astype(mstype.float32)
        moved = self.concat((moved, ops.tile(ranks.reshape(1, n, 1), (batch, 1, 1))))
        stays = ()
        for image in self.images(moved):
            stays = stays + (self.nms(image)[2],)
        return ops.logical_and(ops.stack(stays), valid)


class Detections(nn.Cell):
    """Candidates of each image -> its detections, the best first.

    Candidates are (box, class) pairs: boxes (B, n, 4), scores (B, n), labels (B, n) int32, valid (B, n) bool. What
    comes out has `max_per_image` rows: boxes (B, m, 4), scores (B, m), labels (B, m) int32, zeros (labels -1) behind
    the last, and how many count, (B,) int32.

    Args:
        max_per_image: m.
        iou_threshold: see `Suppress`.
    """

    def __init__(self, max_per_image: int = 100, iou_threshold: float = 0.5):
        super().__init__()
        self.max_per_image = max_per_image
        self.suppress = Suppress(iou_threshold)
        self.top = ops.TopK(sorted=True)
        self.rows = TopRows(max_per_image)

    def construct(self, boxes, scores, labels, valid):
        batch, n = scores.shape
        order = self.rows.order(ops.select(valid, scores, ops.zeros_like(scores) - 1.0))
        boxes, scores = rows_of_batch(boxes, order), ops.gather_elements(scores, 1, order)
        labels, valid = ops.gather_elements(labels, 1, order), ops.gather_elements(valid, 1, order)
        stays = self.suppress(boxes, labels, valid)
        keys = ops.select(stays, n - self.rows.indices(scores, n), ops.zeros((batch, n), mstype.int32))
        m = min(self.max_per_image, n)
        best = self.top(keys.astype(mstype.float32), m)[0].astype(mstype.int32)
        counts = best > 0
        kept = ops.select(counts, n - best, ops.zeros_like(best))
        where = ops.tile(counts.reshape(batch, m, 1), (1, 1, 4))
        boxes = ops.select(where, rows_of_batch(boxes, kept), ops.zeros((batch, m, 4), mstype.float32))
        scores = ops.select(counts, ops.gather_elements(scores, 1, kept), ops.zeros((batch, m), mstype.float32))
        labels = ops.select(counts, ops.gather_elements(labels, 1, kept), ops.zeros((batch, m), mstype.int32) - 1)
        if m < self.max_per_image:
            more = self.max_per_image - m
            boxes = ops.concat((boxes, ops.zeros((batch, more, 4), mstype.float32)), 1)
            scores = ops.concat((scores, ops.zeros((batch, more), mstype.float32)), 1)
            labels = ops.concat((labels, ops.zeros((batch, more), mstype.int32) - 1), 1)
        return boxes, scores, labels, counts.astype(mstype.int32).sum(axis=1).astype(mstype.int32)
