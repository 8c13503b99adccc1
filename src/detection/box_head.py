"""What a region shows, and where exactly.

Source: Girshick, Fast R-CNN, 2015; Lin et al., Feature Pyramid Networks, 2017, section 4.2 (two layers of 1,024);
attribute names are mmdetection's.
"""

from mindspore import nn
from mindspore.common.initializer import Normal, XavierUniform


class BoxHead(nn.Cell):
    """Features (R, in_channels, size, size) -> logits (R, num_classes + 1), background last, and deltas (R, n, 4).

    Args:
        num_classes: K.
        in_channels: of the features.
        size: of the features.
        fc_channels: of the two layers.
        class_agnostic: n is 1; otherwise K.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 256,
        size: int = 7,
        fc_channels: int = 1024,
        class_agnostic: bool = False,
    ):
        super().__init__()

        def layer(inputs: int, outputs: int, weight_init) -> nn.Dense:
            return nn.Dense(inputs, outputs, weight_init=weight_init, bias_init="zeros")

        self.num_boxes = 1 if class_agnostic else num_classes
        widths = (in_channels * size * size, fc_channels, fc_channels)
        self.shared_fcs = nn.CellList([layer(widths[i], widths[i + 1], XavierUniform()) for i in range(2)])
        self.fc_cls = layer(fc_channels, num_classes + 1, Normal(0.01))
        self.fc_reg = layer(fc_channels, 4 * self.num_boxes, Normal(0.001))
        self.relu = nn.ReLU()

    def construct(self, x):
        x = x.reshape(x.shape[0], -1)
        for layer in self.shared_fcs:
            x = self.relu(layer(x))
        return self.fc_cls(x), self.fc_reg(x).reshape(x.shape[0], self.num_boxes, 4)
