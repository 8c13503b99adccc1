"""RetinaNet's head: classes and boxes at every anchor of every map.

Source: Lin et al., Focal Loss for Dense Object Detection, 2017, section 4; attribute names are mmdetection's.
"""

import math

from mindspore import nn
from mindspore.common.initializer import Constant, Normal

from .fpn import ConvModule
from .rows import rows_of_map

PRIOR = 0.01
"""Probability of a class at the start."""


class RetinaHead(nn.Cell):
    """Maps (B, in_channels, H, W) -> logits (B, A, num_classes) and deltas (B, A, 4), over all anchors of all maps.

    Two towers of 3x3 convolutions, which all maps share.

    Args:
        num_classes: K.
        in_channels: of the maps.
        feat_channels: inside the towers.
        num_anchors: at a position.
        stacked_convs: of a tower.
    """

    def __init__(
        self, num_classes: int, in_channels: int = 256, feat_channels: int = 256, num_anchors: int = 9, stacked_convs=4
    ):
        super().__init__()

        def tower() -> nn.CellList:
            widths = [in_channels] + [feat_channels] * stacked_convs
            return nn.CellList(
                [ConvModule(widths[i], widths[i + 1], 3, weight_init=Normal(0.01)) for i in range(stacked_convs)]
            )

        def last(channels: int, bias: float) -> nn.Conv2d:
            return nn.Conv2d(
                feat_channels if stacked_convs else in_channels,
                channels,
                3,
                pad_mode="pad",
                padding=1,
                has_bias=True,
                weight_init=Normal(0.01),
                bias_init=Constant(bias),
            )

        self.num_classes, self.num_anchors = num_classes, num_anchors
        self.cls_convs, self.reg_convs = tower(), tower()
        self.retina_cls = last(num_anchors * num_classes, -math.log((1 - PRIOR) / PRIOR))
        self.retina_reg = last(num_anchors * 4, 0.0)
        self.relu = nn.ReLU()

    def of_map(self, x):
        """One map -> logits (B, 9 K, H, W), deltas (B, 36, H, W)."""
        logits = deltas = x
        for conv in self.cls_convs:
            logits = self.relu(conv(logits))
        for conv in self.reg_convs:
            deltas = self.relu(conv(deltas))
        return self.retina_cls(logits), self.retina_reg(deltas)

    def construct(self, maps):
        """The maps -> logits and deltas of each: (B, H * W * 9, K), (B, H * W * 9, 4)."""
        logits, deltas = (), ()
        for x in maps:
            cls_score, bbox_pred = self.of_map(x)
            logits = logits + (rows_of_map(cls_score, self.num_classes),)
            deltas = deltas + (rows_of_map(bbox_pred, 4),)
        return logits, deltas
