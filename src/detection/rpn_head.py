"""Region proposal network: is there an object at an anchor, and where.

Source: Ren et al., Faster R-CNN, 2015, section 3.1; attribute names are mmdetection's.
"""

from mindspore import dtype as mstype
from mindspore import nn, ops
from mindspore.common.initializer import Normal

from .boxes_in_graph import have_area, limits_of
from .nms import Suppress, TopRows
from .rows import rows_of_batch, rows_of_map


class RPNHead(nn.Cell):
    """Maps (B, in_channels, H, W) -> logits (B, A) and deltas (B, A, 4) of each map, over its A = H * W * n anchors.

    One 3x3 convolution, then 1x1 ones; all maps share them.

    Args:
        in_channels: of the maps.
        feat_channels: behind the first convolution.
        num_anchors: n, at a position.
    """

    def __init__(self, in_channels: int = 256, feat_channels: int = 256, num_anchors: int = 3):
        super().__init__()
        own = {"has_bias": True, "pad_mode": "pad", "weight_init": Normal(0.01), "bias_init": "zeros"}
        self.rpn_conv = nn.Conv2d(in_channels, feat_channels, 3, padding=1, **own)
        self.rpn_cls = nn.Conv2d(feat_channels, num_anchors, 1, **own)
        self.rpn_reg = nn.Conv2d(feat_channels, num_anchors * 4, 1, **own)
        self.relu = nn.ReLU()

    def construct(self, maps):
        logits, deltas = (), ()
        for x in maps:
            x = self.relu(self.rpn_conv(x))
            logits = logits + (rows_of_map(self.rpn_cls(x), 1).reshape(x.shape[0], -1),)
            deltas = deltas + (rows_of_map(self.rpn_reg(x), 4),)
        return logits, deltas


class Proposals(nn.Cell):
    """What the head says about the anchors -> the boxes that are most likely objects.

    Of each map the anchors with the highest scores are decoded and clipped to the image, those without area left out,
    and of those that overlap the lower ones; then the best of all maps are taken.

    Args:
        decode: a `DecodeBoxes`.
        num_before: of each map, before overlapping ones go.
        num_after: N, of an image.
        iou_threshold: above it two boxes overlap.
    """

    def __init__(self, decode: nn.Cell, num_before: int, num_after: int, iou_threshold: float = 0.7):
        super().__init__()
        self.decode, self.num_after = decode, num_after
        self.top, self.best = TopRows(num_before), TopRows(num_after)
        self.suppress = Suppress(iou_threshold)

    def construct(self, logits, deltas, anchors, shapes):
        """Logits (B, A) and deltas (B, A, 4) of each map, its anchors (A, 4), shapes (B, 2) of the images on the canvas
        -> boxes (B, N, 4), scores (B, N), the best first, and (B, N) bool whether there is one. Boxes and scores are
        finite in any case."""
        batch = shapes.shape[0]
        limits = limits_of(shapes)
        boxes, scores, valid = (), (), ()
        for level in range(len(anchors)):
            found = ops.sigmoid(logits[level].astype(mstype.float32))
            found, rows = self.top(ops.select(found >= 0.0, found, ops.zeros_like(found) - 1.0))  # NaN has no order
            decoded = self.decode(
                ops.gather(anchors[level], rows, 0), rows_of_batch(deltas[level].astype(mstype.float32), rows), limits
            )
            decoded = ops.select(ops.isfinite(decoded), decoded, ops.zeros_like(decoded))
            stays = self.suppress(decoded, rows * 0, have_area(decoded))
            boxes, scores, valid = boxes + (decoded,), scores + (found,), valid + (stays,)
        boxes, scores, valid = ops.concat(boxes, 1), ops.concat(scores, 1), ops.concat(valid, 1)
        scores, rows = self.best(ops.select(valid, scores, ops.zeros_like(scores) - 1.0))
        boxes = rows_of_batch(boxes, rows)
        missing = self.num_after - rows.shape[1]
        if missing > 0:
            boxes = ops.concat((boxes, ops.zeros((batch, missing, 4), mstype.float32)), 1)
            scores = ops.concat((scores, ops.zeros((batch, missing), mstype.float32) - 1.0), 1)
        return boxes, scores, scores >= 0.0
