"""Which pixels of a region belong to its object.

Source: He et al., Mask R-CNN, 2017, section 3; attribute names are mmdetection's.
"""

from mindspore import nn
from mindspore.common.initializer import HeNormal

from .fpn import ConvModule

MASK_SIZE = 28


class MaskHead(nn.Cell):
    """Features (R, in_channels, 14, 14) -> logits (R, num_classes, 28, 28).

    Args:
        num_classes: K.
        in_channels: of the features.
        channels: inside.
        num_convs: 3x3 convolutions before the map is enlarged.
    """

    def __init__(self, num_classes: int, in_channels: int = 256, channels: int = 256, num_convs: int = 4):
        super().__init__()
        init = HeNormal(mode="fan_out", nonlinearity="relu")
        widths = [in_channels] + [channels] * num_convs
        self.convs = nn.CellList([ConvModule(widths[i], widths[i + 1], 3, weight_init=init) for i in range(num_convs)])
        self.upsample = nn.Conv2dTranspose(
            widths[-1], channels, 2, 2, pad_mode="valid", has_bias=True, weight_init=init, bias_init="zeros"
        )
        self.conv_logits = nn.Conv2d(channels, num_classes, 1, has_bias=True, weight_init=init, bias_init="zeros")
        self.relu = nn.ReLU()

    def construct(self, x):
        for conv in self.convs:
            x = self.relu(conv(x))
        return self.conv_logits(self.relu(self.upsample(x)))
