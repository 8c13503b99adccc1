"""RetinaNet: one stage, from anchors to boxes.

Source: Lin et al., Focal Loss for Dense Object Detection, 2017; settings of mmdetection 3.3.0's retinanet_r50_fpn.
"""

from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from .anchors import AnchorGrid
from .base_detector import BaseDetector, BasePredictions, finite_images
from .boxes_in_graph import have_area, limits_of
from .decode_boxes import DecodeBoxes
from .losses import FocalLoss, SmoothL1
from .nms import TopRows
from .rows import rows_of_batch


class RetinaNet(BaseDetector):
    """Images (B, 3, H, W) of a canvas -> logits and deltas of all anchors of P3 to P7, by maps.

    Parameter names are mmdetection's: the head is `bbox_head.*`.

    Args:
        backbone, upsample, neck, anchors, canvas: see `BaseDetector`.
        bbox_head: -> logits and deltas.
    """

    def __init__(
        self,
        backbone: nn.Cell,
        upsample: nn.CellList,
        neck: nn.Cell,
        bbox_head: nn.Cell,
        anchors: AnchorGrid,
        canvas: tuple[int, int],
    ):
        super().__init__(backbone, upsample, neck, anchors, canvas)
        self.bbox_head, self.num_classes = bbox_head, bbox_head.num_classes

    def construct(self, images):
        return self.bbox_head(self.maps(images))


class RetinaNetLosses(nn.Cell):
    """Images, labels (B, A) int32 and deltas (B, A, 4) of `AnchorTargets` -> the losses of classes and boxes, (2,).

    Both are divided by the number of positive anchors of the batch, of which every image has at least one.

    Args:
        net: a `RetinaNet`.
        num_ranks: devices over which the number is averaged.
    """

    def __init__(self, net: nn.Cell, num_ranks: int = 1):
        super().__init__(auto_prefix=False)
        self.net, self.num_classes, self.num_ranks = net, net.num_classes, num_ranks
        self.focal, self.l1 = FocalLoss(), SmoothL1()
        self.concat = ops.Concat(axis=1)
        self.one_hot = ops.OneHot()
        self.on, self.off = Tensor(1.0, mstype.float32), Tensor(0.0, mstype.float32)
        if num_ranks > 1:
            self.all_reduce = ops.AllReduce()

    def construct(self, images, labels, deltas):
        logits, found = self.net(images)
        return self.of_outputs(self.concat(logits), self.concat(found), labels, deltas)

    def of_outputs(self, logits, found, labels, deltas):
        logits, found = logits.astype(mstype.float32), found.astype(mstype.float32)
        takes_part = (labels >= 0).astype(mstype.float32)
        positive = ops.logical_and(labels >= 0, labels < self.num_classes).astype(mstype.float32)
        count = ops.maximum(positive.sum(axis=1), 1.0).sum()
        if self.num_ranks > 1:
            count = self.all_reduce(count) / self.num_ranks
        targets = self.one_hot(labels, self.num_classes, self.on, self.off)  # B A K; nothing of background
        classes = (self.focal(logits, targets).sum(axis=2) * takes_part).sum() / count
        boxes = (self.l1(found, deltas).sum(axis=2) * positive).sum() / count
        return ops.stack((classes, boxes))


class RetinaNetPredictions(BasePredictions):
    """Images, their shapes and scales -> detections in pixels of the images as they were.

    Args:
        net: a `RetinaNet`.
        **choice: see `BasePredictions`.
    """

    def __init__(self, net: nn.Cell, **choice):
        super().__init__(net, **choice)
        self.decode = DecodeBoxes()
        self.tops = nn.CellList([TopRows(self.candidates) for _ in net.anchor_grid.strides])

    def construct(self, images, shapes, scales):
        """Images (B, 3, H, W); shapes (B, 2), (height, width) that each fills; scales (B, 2), (x, y) by which it grew.

        Returns boxes (B, m, 4), scores (B, m), labels (B, m) int32, counts (B,) int32, see `Detections`; a count of -1
        where what the network makes of an image is not finite.
        """
        maps = self.net.maps(images)  # looked at too: a ReLU makes 0 of NaN on CPU
        logits, deltas = self.net.bbox_head(maps)
        boxes, scores, labels, counts = self.of_outputs(logits, deltas, self.anchors(images), shapes, scales)
        finite = finite_images(maps + logits + deltas)
        return boxes, scores, labels, ops.select(finite, counts, counts * 0 - 1)

    def of_outputs(self, logits, deltas, anchors, shapes, scales):
        """What the head says about the anchors of each map -> detections, see `construct`."""
        batch = shapes.shape[0]
        limits = limits_of(shapes)
        boxes, scores, labels, valid = (), (), (), ()
        for level in range(len(anchors)):
            found = ops.sigmoid(logits[level].astype(mstype.float32)).reshape(batch, -1)  # A * K
            found = ops.select(found > self.score_threshold, found, ops.zeros_like(found))
            best, rows = self.tops[level](found)
            places = rows // self.num_classes
            decoded = self.decode(
                ops.gather(anchors[level], places, 0),
                rows_of_batch(deltas[level].astype(mstype.float32), places),
                limits,
            )
            boxes, scores = boxes + (decoded,), scores + (best,)
            labels = labels + (rows - places * self.num_classes,)
            valid = valid + (ops.logical_and(best > self.score_threshold, have_area(decoded)),)
        boxes = ops.concat(boxes, 1) / ops.concat((scales, scales), 1).reshape(-1, 1, 4)
        return self.choose(boxes, ops.concat(scores, 1), ops.concat(labels, 1), ops.concat(valid, 1))
