"""Maps of twice the size: PyramidTNT's strides 8 to 64 become the 4 to 32 that detectors are made for.

Source: Han et al., PyramidTNT, 2022, section 4.3, names the layers (a stride-2 transposed convolution and a 3x3
convolution, each with batch norm and GELU); the transposed convolution's kernel of 2 and the biases are our reading.
"""

from mindspore import nn

from ..layers.activation import GELU
from ..layers.conv import Conv2d
from ..layers.norm import BatchNorm2d


class UpsampleLevel(nn.SequentialCell):
    """A map (B, C, H, W) -> (B, C, 2 H, 2 W). A detector has one for each map, in its list `upsample`.

    Args:
        channels: C.
        batch_norm: mode, see `BatchNorm2d`.
    """

    def __init__(self, channels: int, batch_norm: str = "train"):
        super().__init__(
            nn.Conv2dTranspose(channels, channels, 2, 2, pad_mode="valid", has_bias=True, bias_init="zeros"),
            BatchNorm2d(channels, batch_norm),
            GELU(),
            Conv2d(channels, channels, 3, 1, 1),
            BatchNorm2d(channels, batch_norm),
            GELU(),
        )


def upsample_maps(levels, maps):
    """Each map through its level."""
    outputs = ()
    for i in range(len(maps)):
        outputs = outputs + (levels[i](maps[i]),)
    return outputs
