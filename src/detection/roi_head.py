"""The second stage: heads that look at regions.

Source: He et al., Mask R-CNN, 2017; Cai and Vasconcelos, Cascade R-CNN, 2018; settings of mmdetection 3.3.0's
mask-rcnn_r50_fpn and cascade-mask-rcnn_r50_fpn. Attribute names are mmdetection's.
"""

from dataclasses import dataclass

from mindspore import nn, ops

from ..layers.whole_numbers import whole_numbers
from .box_head import BoxHead
from .boxes_in_graph import limits_of
from .decode_boxes import DecodeBoxes
from .mask_head import MaskHead
from .matcher import Matcher
from .roi_align import RoIAlign

BOX_SIZE, MASK_FEATURES = 7, 14


@dataclass(frozen=True)
class Stage:
    """One of the heads that follow each other.

    Attributes:
        matcher: which regions it takes for objects.
        stds: of its deltas.
        weight: of its losses.
        beta: of the smooth L1 loss of its boxes.
    """

    matcher: Matcher
    stds: tuple[float, float, float, float]
    weight: float = 1.0
    beta: float = 0.0


ONE_STAGE = (Stage(Matcher(0.5, 0.5, 0.5), (0.1, 0.1, 0.2, 0.2)),)
"""Mask R-CNN's."""

CASCADE = tuple(
    Stage(Matcher(iou, iou, iou, match_low_quality=False), stds, weight, 1.0)
    for iou, stds, weight in (
        (0.5, (0.1, 0.1, 0.2, 0.2), 1.0),
        (0.6, (0.05, 0.05, 0.1, 0.1), 0.5),
        (0.7, (0.033, 0.033, 0.067, 0.067), 0.25),
    )
)


class RoIHead(nn.Cell):
    """Heads of boxes and masks: one of each, or where there are several stages one for each of them.

    Args:
        stages: what the heads are for.
        num_classes: K.
        channels: of the maps, and inside the mask heads.
        fc_channels: inside the box heads.
        mask_convs: of a mask head.
        class_agnostic: whether a region has one box, not one for each class; as it must where there are several stages.
        window: see `RoIAlign`.
    """

    def __init__(
        self,
        stages: tuple[Stage, ...],
        num_classes: int,
        channels: int = 256,
        fc_channels: int = 1024,
        mask_convs: int = 4,
        class_agnostic: bool = False,
        window: int = 32,
    ):
        super().__init__()
        self.stages, self.num_classes = stages, num_classes
        boxes = [BoxHead(num_classes, channels, BOX_SIZE, fc_channels, class_agnostic) for _ in stages]
        masks = [MaskHead(num_classes, channels, channels, mask_convs) for _ in stages]
        self.is_cascade = len(stages) > 1
        self.bbox_head = nn.CellList(boxes) if self.is_cascade else boxes[0]
        self.mask_head = nn.CellList(masks) if self.is_cascade else masks[0]
        self.box_features = RoIAlign(BOX_SIZE, window=window)
        self.mask_features = RoIAlign(MASK_FEATURES, window=window)
        self.decoders = nn.CellList([DecodeBoxes(stage.stds) for stage in stages])

    def boxes(self, stage: int, maps, regions):
        """Regions (B, N, 4) -> logits (B * N, K + 1) and deltas (B * N, n, 4) of a stage."""
        x = self.box_features(maps, images_of(regions), regions.reshape(-1, 4))
        if self.is_cascade:
            return self.bbox_head[stage](x)
        return self.bbox_head(x)

    def masks(self, stage: int, x, labels):
        """Features of regions and their labels (R,) -> logits of the label's own mask (R, 28, 28), of a stage."""
        logits = self.mask_head[stage](x) if self.is_cascade else self.mask_head(x)
        return own_rows(logits.reshape(-1, logits.shape[2] * logits.shape[3]), labels, self.num_classes).reshape(
            -1, logits.shape[2], logits.shape[3]
        )

    def refined(self, stage: int, regions, deltas, shapes):
        """Regions (B, N, 4) moved by the one box that a stage says about each."""
        return self.decoders[stage](regions, deltas.reshape(regions.shape), limits_of(shapes))


def images_of(regions):
    """Numbers of the images of regions (B, N, 4): (B * N,) int32."""
    batch, count = regions.shape[0], regions.shape[1]
    return ops.tile(whole_numbers(batch).reshape(-1, 1), (1, count)).reshape(-1)


def own_rows(values, labels, num_classes: int):
    """Of rows for every class, values (R * K, n), those of the labels (R,) int32, (R, n)."""
    count = labels.shape[0]
    rows = whole_numbers(count) * num_classes + ops.clamp(labels, 0, num_classes - 1)
    return ops.gather(values, rows, 0)
