"""Mask R-CNN and Cascade Mask R-CNN: proposals, then heads that look at each of them.

Source: He et al., Mask R-CNN, 2017; Cai and Vasconcelos, Cascade R-CNN, 2018; settings of mmdetection 3.3.0's
mask-rcnn_r50_fpn and cascade-mask-rcnn_r50_fpn.
"""

from dataclasses import dataclass

from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from .anchors import AnchorGrid
from .base_detector import BaseDetector, BasePredictions, CanvasAnchors, finite_images
from .boxes_in_graph import limits_of
from .decode_boxes import DecodeBoxes, EncodeBoxes
from .losses import SigmoidCrossEntropy, SmoothL1, SoftmaxCrossEntropy
from .mask_targets import MaskTargets
from .nms import TopRows
from .region_sampling import RegionSampling
from .roi_head import images_of, own_rows
from .rows import rows_of_batch
from .rpn_head import Proposals


@dataclass(frozen=True)
class TwoStageSettings:
    """Numbers of regions, of which nothing but memory, time and results depends.

    Attributes:
        candidates: anchors of each map that may become proposals in training.
        proposals: of an image in training.
        test_proposals: of an image in evaluation, and anchors of each map that may become one.
        regions: of an image that the heads are trained on.
        rpn_beta: of the smooth L1 loss of proposals.
    """

    candidates: int = 2000
    proposals: int = 1000
    test_proposals: int = 1000
    regions: int = 512
    rpn_beta: float = 0.0


class TwoStage(BaseDetector):
    """Images (B, 3, H, W) of a canvas -> maps P2 to P6, and what the first stage says of their anchors.

    Parameter names are mmdetection's: the heads are `rpn_head.*`, `roi_head.bbox_head.*` and `roi_head.mask_head.*`,
    in a cascade with the number of the stage.

    Args:
        backbone, upsample, neck, anchors, canvas: see `BaseDetector`.
        rpn_head: the first stage.
        roi_head: the second.
        settings: numbers of regions.
    """

    def __init__(
        self,
        backbone: nn.Cell,
        upsample: nn.CellList,
        neck: nn.Cell,
        rpn_head: nn.Cell,
        roi_head: nn.Cell,
        anchors: AnchorGrid,
        canvas: tuple[int, int],
        settings: TwoStageSettings,
    ):
        super().__init__(backbone, upsample, neck, anchors, canvas)
        self.rpn_head, self.roi_head, self.settings = rpn_head, roi_head, settings
        self.num_classes = roi_head.num_classes

    def construct(self, images):
        maps = self.maps(images)
        logits, deltas = self.rpn_head(maps)
        return maps, logits, deltas


def loss_names(num_stages: int) -> tuple[str, ...]:
    """Of `TwoStageLosses`."""
    own = ("cls", "bbox", "mask")
    stages = [own] if num_stages == 1 else [tuple(f"s{i}_{name}" for name in own) for i in range(num_stages)]
    return ("rpn_cls", "rpn_bbox", *(name for names in stages for name in names))


class TwoStageLosses(nn.Cell):
    """Images and what `RegionTargets` makes of their objects -> losses, see `loss_names`.

    Those of the first stage are divided by the number of anchors that were drawn, those of boxes and classes by that of
    regions, those of masks by that of pixels, each over the whole batch.

    Args:
        net: a `TwoStage`.
        num_ranks: devices over which the numbers are averaged.
    """

    def __init__(self, net: nn.Cell, num_ranks: int = 1):
        super().__init__(auto_prefix=False)
        self.net, self.num_classes, self.num_ranks = net, net.num_classes, num_ranks
        settings, stages = net.settings, net.roi_head.stages
        self.anchors = CanvasAnchors(net.anchor_grid, net.canvas)
        self.propose = Proposals(DecodeBoxes(), settings.candidates, settings.proposals)
        self.samplings = nn.CellList(
            [RegionSampling(stage.matcher, settings.regions, stage=i) for i, stage in enumerate(stages)]
        )
        self.encoders = nn.CellList([EncodeBoxes(stage.stds) for stage in stages])
        self.box_losses = nn.CellList([SmoothL1(stage.beta) for stage in stages])
        self.weights = tuple(stage.weight for stage in stages)
        self.rpn_loss, self.binary = SmoothL1(settings.rpn_beta), SigmoidCrossEntropy()
        self.cross_entropy, self.mask_targets = SoftmaxCrossEntropy(), MaskTargets()
        self.concat = ops.Concat(axis=1)
        self.unit_box = Tensor([0.0, 0.0, 1.0, 1.0], mstype.float32)
        if num_ranks > 1:
            self.all_reduce = ops.AllReduce()

    def number(self, values):
        """Their sum over all ranks, a rank's share of it, at least 1."""
        count = values.astype(mstype.float32).sum()
        if self.num_ranks > 1:
            count = self.all_reduce(count) / self.num_ranks
        return ops.maximum(count, 1.0 / self.num_ranks)

    def construct(self, images, rows, is_object, weights, deltas, boxes, labels, masks, shapes, key):
        maps, rpn_logits, rpn_deltas = self.net(images)
        losses = self.of_anchors(rpn_logits, rpn_deltas, rows, is_object, weights, deltas)
        proposals, valid = self.proposals(rpn_logits, rpn_deltas, images, shapes)
        for stage in range(len(self.weights)):
            regions, found, drawn, is_own = self.samplings[stage](proposals, valid, boxes, labels >= 0, key)
            regions = ops.stop_gradient(regions)
            own, moved = self.of_stage(stage, maps, regions, found, drawn, boxes, labels, masks)
            losses = losses + own
            if stage + 1 < len(self.weights):
                proposals = ops.stop_gradient(self.net.roi_head.refined(stage, regions, moved, shapes))
                valid = ops.logical_and(drawn, ops.logical_not(is_own))
        return ops.stack(losses)

    def proposals(self, logits, deltas, images, shapes):
        """Of the first stage, without derivative."""
        boxes, _, valid = self.propose(held(logits), held(deltas), self.anchors(images), shapes)
        return ops.stop_gradient(boxes), valid

    def of_anchors(self, logits, deltas, rows, is_object, weights, targets):
        count = self.number(weights)
        logits = ops.gather_elements(self.concat(logits).astype(mstype.float32), 1, rows)
        deltas = rows_of_batch(self.concat(deltas).astype(mstype.float32), rows)
        classes = (self.binary(logits, is_object) * weights).sum() / count
        boxes = (self.rpn_loss(deltas, targets).sum(axis=2) * is_object * weights).sum() / count
        return classes, boxes

    def of_stage(self, stage, maps, regions, found, drawn, boxes, labels, masks):
        """Losses of classes, boxes and masks, and the deltas of the regions."""
        head = self.net.roi_head
        batch = regions.shape[0]
        logits, moved = head.boxes(stage, maps, regions)
        logits, moved = logits.astype(mstype.float32), moved.astype(mstype.float32)
        is_object = ops.logical_and(found >= 0, drawn)
        objects = ops.maximum(found, 0)
        classes = ops.select(is_object, ops.gather_elements(labels, 1, objects), objects * 0 + self.num_classes)
        count = self.number(drawn)
        flat = classes.reshape(-1)
        of_classes = (self.cross_entropy(logits, flat) * drawn.reshape(-1).astype(mstype.float32)).sum() / count
        unit = ops.zeros_like(regions) + self.unit_box
        where = ops.tile(is_object.reshape(batch, -1, 1), (1, 1, 4))
        targets = self.encoders[stage](
            ops.select(where, regions, unit), ops.select(where, rows_of_batch(boxes, objects), unit)
        ).reshape(-1, 4)
        own = moved.reshape(-1, 4)
        if moved.shape[1] > 1:
            own = own_rows(own, flat, self.num_classes)
        of_boxes = (
            self.box_losses[stage](own, targets).sum(axis=1) * is_object.reshape(-1).astype(mstype.float32)
        ).sum()
        first = self.samplings[stage].num_positive
        of_masks = self.of_masks(
            stage, maps, regions[:, :first], objects[:, :first], is_object[:, :first], classes[:, :first], masks
        )
        weight = self.weights[stage]
        return (of_classes * weight, of_boxes / count * weight, of_masks * weight), ops.stop_gradient(moved)

    def of_masks(self, stage, maps, regions, objects, is_object, classes, masks):
        head = self.net.roi_head
        images = images_of(regions)
        features = head.mask_features(maps, images, regions.reshape(-1, 4))
        logits = head.masks(stage, features, classes.reshape(-1)).astype(mstype.float32)
        number, height, width = masks.shape[1], masks.shape[2], masks.shape[3]
        rows = images * number + objects.reshape(-1)
        own = ops.gather(masks.reshape(-1, height * width), rows, 0).reshape(-1, height, width)
        targets = ops.stop_gradient(self.mask_targets(own, regions.reshape(-1, 4)))
        losses = self.binary(logits, targets).mean(axis=(1, 2))
        return (losses * is_object.reshape(-1).astype(mstype.float32)).sum() / self.number(is_object)


class TwoStagePredictions(BasePredictions):
    """Images, their shapes and scales -> detections with masks, boxes in pixels of the images as they were.

    Args:
        net: a `TwoStage`.
        **choice: see `BasePredictions`.
    """

    def __init__(self, net: nn.Cell, **choice):
        super().__init__(net, **choice)
        self.num_stages = len(net.roi_head.stages)
        number = net.settings.test_proposals
        self.propose = Proposals(DecodeBoxes(), number, number)
        self.top = TopRows(self.candidates)

    def construct(self, images, shapes, scales):
        """As `RetinaNetPredictions`, and masks (B, m, 28, 28): probabilities of pixels within the box, row by row."""
        maps, logits, deltas = self.net(images)
        regions, _, valid = self.propose(logits, deltas, self.anchors(images), shapes)
        finite = finite_images(maps + logits + deltas)
        scores, regions, moved = self.scores(maps, regions, shapes)
        finite = ops.logical_and(finite, finite_images((scores, moved)))
        boxes, scores, labels, counts = self.of_regions(scores, regions, moved, valid, shapes, ops.ones_like(scales))
        masks = self.masks(maps, boxes, labels)
        finite = ops.logical_and(finite, finite_images((masks,)))
        boxes = boxes / ops.concat((scales, scales), 1).reshape(-1, 1, 4)
        return boxes, scores, labels, ops.select(finite, counts, counts * 0 - 1), masks

    def scores(self, maps, regions, shapes):
        """Regions (B, N, 4) -> scores (B, N, K), the regions that the last stage looks at, its deltas (B, N, n, 4)."""
        head = self.net.roi_head
        batch, count = regions.shape[0], regions.shape[1]
        total, moved = 0.0, None
        for stage in range(self.num_stages):
            if stage > 0:
                regions = head.refined(stage - 1, regions, moved, shapes)
            logits, moved = head.boxes(stage, maps, regions)
            moved = moved.astype(mstype.float32)
            total = total + logits.astype(mstype.float32)
        return self.probabilities(total).reshape(batch, count, -1), regions, moved.reshape(batch, count, -1, 4)

    def probabilities(self, total):
        """Sums of the stages' logits (R, K + 1) -> scores (R, K)."""
        return ops.softmax(total / self.num_stages, -1)[:, : self.num_classes]

    def of_regions(self, scores, regions, moved, valid, shapes, factors):
        """Scores (B, N, K), regions (B, N, 4), their deltas (B, N, n, 4), which there are -> detections; boxes are
        divided by factors (B, 2) of (x, y) before overlapping ones go."""
        batch, classes, own = shapes.shape[0], self.num_classes, moved.shape[2]
        there = ops.tile(valid.reshape(batch, -1, 1), (1, 1, classes))
        scores = ops.select(there, scores, ops.zeros_like(scores)).reshape(batch, -1)
        scores = ops.select(scores > self.score_threshold, scores, ops.zeros_like(scores))
        best, rows = self.top(scores)
        places = rows // classes
        labels = rows - places * classes
        deltas = rows_of_batch(moved.reshape(batch, -1, 4), rows if own > 1 else places)
        decode = self.net.roi_head.decoders[self.num_stages - 1]
        boxes = decode(rows_of_batch(regions, places), deltas, limits_of(shapes))
        boxes = boxes / ops.concat((factors, factors), 1).reshape(-1, 1, 4)
        return self.choose(boxes, best, labels, best > self.score_threshold)

    def masks(self, maps, boxes, labels):
        head = self.net.roi_head
        batch, count = boxes.shape[0], boxes.shape[1]
        features = head.mask_features(maps, images_of(boxes), boxes.reshape(-1, 4))
        total = 0.0
        for stage in range(self.num_stages):
            total = total + ops.sigmoid(head.masks(stage, features, labels.reshape(-1)).astype(mstype.float32))
        total = total / self.num_stages
        return total.reshape(batch, count, total.shape[1], total.shape[2])


def held(values):
    """Arrays without derivative."""
    found = ()
    for x in values:
        found = found + (ops.stop_gradient(x),)
    return found
