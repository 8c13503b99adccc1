"""Convolution with PyTorch's conventions: explicit zero padding on every side, and a bias."""

import math

from mindspore import nn
from mindspore.common.initializer import Normal


class Conv2d(nn.Conv2d):
    """Square convolution with bias, (B, in_channels, H, W) -> (B, out_channels, H', W').

    Initial values as PyramidTNT's authors set them: weights N(0, sqrt(2 / fan_out)), biases 0.
    MindSpore's defaults differ: padding 'same' and no bias.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel.
        stride: step of the kernel.
        padding: rows and columns of zeros at each side.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int):
        fan_out = kernel_size * kernel_size * out_channels
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            pad_mode="pad",
            padding=padding,
            has_bias=True,
            weight_init=Normal(math.sqrt(2.0 / fan_out)),
            bias_init="zeros",
        )
