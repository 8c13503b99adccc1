"""Which regions the heads are trained on, and for what: in the graph, because regions come from the network.

Source: Girshick, Fast R-CNN, 2015, section 2.3; settings of mmdetection 3.3.0 (MaxIoUAssigner, RandomSampler).
"""

from mindspore import dtype as mstype
from mindspore import nn, ops

from ..layers.random_mask import mask_bits, row_words
from ..layers.whole_numbers import whole_numbers
from .boxes_in_graph import split_sides
from .matcher import Matcher
from .nms import TopRows
from .rows import rows_of_batch

KEY_BITS = 24
"""Of a key: what float32 holds exactly, because GPUs have no TopK of integers. Of equal keys the first wins."""


class RegionSampling(nn.Cell):
    """Assigns candidates to the annotated objects of their image, and draws some of them.

    The objects' own boxes are candidates too, the first. Of those that are assigned to an object at most a share is
    drawn, and of the others as many as are missing. What is drawn is a function of the image's key and `stage`.

    Args:
        matcher: thresholds; its `negative_iou` must be the positive one. Crowds do not matter.
        num_samples: S, of an image.
        positive_share: of them, at most.
        stage: number of the head.
    """

    def __init__(self, matcher: Matcher, num_samples: int = 512, positive_share: float = 0.25, stage: int = 0):
        super().__init__()
        self.matcher, self.num_samples, self.stage = matcher, num_samples, stage
        self.num_positive = int(num_samples * positive_share)
        self.top_positive, self.top_negative = TopRows(self.num_positive), TopRows(num_samples)
        self.argmax = ops.Argmax(axis=2, output_type=mstype.int32)

    def construct(self, candidates, valid, objects, is_object, key):
        """Of B images: candidates (B, N, 4) and which there are (B, N) bool; objects (B, G, 4), which there are (B, G)
        bool; key (B,) int32.

        Returns:
            regions (B, S, 4), those that are assigned to an object first; the object of each (B, S) int32, -1 where it
            is background; which there are (B, S) bool; which are objects' own boxes (B, S) bool.
        """
        batch, num_objects = objects.shape[0], objects.shape[1]
        assigned = self.assign(candidates, valid, objects, is_object)
        own = ops.tile(whole_numbers(num_objects).reshape(1, -1), (batch, 1))
        own = ops.select(is_object, own, own * 0 - 1)
        candidates, assigned = ops.concat((objects, candidates), 1), ops.concat((own, assigned), 1)
        valid = ops.concat((is_object, valid), 1)
        keys = self.keys(key, valid.shape[1])
        positive = ops.logical_and(valid, assigned >= 0)
        positive_rows, num_positive = self.draw(positive, keys, self.top_positive)
        negative_rows, num_negative = self.draw(ops.logical_and(valid, assigned < 0), keys, self.top_negative)
        place = ops.tile(whole_numbers(self.num_samples).reshape(1, -1), (batch, 1))
        num_positive, num_negative = num_positive.reshape(-1, 1), num_negative.reshape(-1, 1)
        behind = positive_rows.shape[1] + ops.minimum(place - num_positive, negative_rows.shape[1] - 1)
        of_both = ops.select(place < num_positive, place, behind)
        rows = ops.gather_elements(ops.concat((positive_rows, negative_rows), 1), 1, of_both)
        drawn = place < num_positive + num_negative
        found = ops.select(place < num_positive, ops.gather_elements(assigned, 1, rows), place * 0 - 1)
        return rows_of_batch(candidates, rows), found, drawn, ops.logical_and(rows < num_objects, drawn)

    def assign(self, candidates, valid, objects, is_object):
        """The object of each candidate (B, N) int32, -1 for background."""
        batch, n, g = candidates.shape[0], candidates.shape[1], objects.shape[1]
        there = ops.logical_and(
            ops.tile(valid.reshape(batch, n, 1), (1, 1, g)), ops.tile(is_object.reshape(batch, 1, g), (1, n, 1))
        )
        iou = overlaps(candidates, objects)
        iou = ops.select(there, iou, ops.zeros_like(iou) - 1.0)
        assigned = ops.select(
            iou.max(axis=2) >= self.matcher.positive_iou, self.argmax(iou), ops.zeros((batch, n), mstype.int32) - 1
        )
        if self.matcher.match_low_quality:
            best = iou.max(axis=1).reshape(batch, 1, g)
            best = ops.tile(
                ops.select(best >= self.matcher.min_positive_iou, best, ops.zeros_like(best) + 2.0), (1, n, 1)
            )
            number = ops.tile(whole_numbers(g).reshape(1, 1, g), (batch, n, 1))
            last = ops.select(iou == best, number, number * 0 - 1).max(axis=2)
            assigned = ops.select(last >= 0, last, assigned)
        return assigned

    def keys(self, key, n):
        """(B, n) whole numbers from 0 on, at random, float32."""
        index = ops.tile(whole_numbers(n).reshape(1, -1), (key.shape[0], 1))
        bits = mask_bits(row_words(index, self.stage), ops.tile(key.reshape(-1, 1), (1, n)))
        return ops.bitwise_and(bits, (1 << KEY_BITS) - 1).astype(mstype.float32)

    def draw(self, wanted, keys, top):
        """Rows (B, k) of the wanted ones with the largest keys, and how many there are."""
        found, rows = top(ops.select(wanted, keys, ops.zeros_like(keys) - 1.0))
        return rows, (found >= 0.0).astype(mstype.int32).sum(axis=1)


def overlaps(one, other):
    """Intersection over union of boxes (B, N, 4) and (B, G, 4): (B, N, G)."""
    batch, n, g = one.shape[0], one.shape[1], other.shape[1]
    own = [ops.tile(side, (1, 1, g)) for side in split_sides(one)]
    others = [ops.tile(side.reshape(batch, 1, g), (1, n, 1)) for side in split_sides(other)]
    width = ops.maximum(ops.minimum(own[2], others[2]) - ops.maximum(own[0], others[0]), 0.0)
    height = ops.maximum(ops.minimum(own[3], others[3]) - ops.maximum(own[1], others[1]), 0.0)
    shared = width * height
    union = (own[2] - own[0]) * (own[3] - own[1]) + (others[2] - others[0]) * (others[3] - others[1]) - shared
    return shared / ops.maximum(union, 1e-6)
