"""Convolution as unfold and one matrix product."""

import math

from mindspore import Parameter, nn, ops
from mindspore.common.initializer import Uniform, initializer

from .bias import AddBias


def unfold(x, kernel_size: int, stride: int, padding: int):
    """Square windows of (B, C, H, W): (B, H' * W', C * kernel_size * kernel_size), row-major; the columns are ordered
    channel, row, column.

    Not `ops.unfold`: for any batch size that asks for all sides at run time, by operators that GPUs do not have.
    """
    channels, height, width = x.shape[1:]
    down, across = ((side + 2 * padding - kernel_size) // stride + 1 for side in (height, width))
    columns = ops.Im2Col(ksizes=kernel_size, strides=stride, pads=padding)(x)  # B C kernel_size^2 L
    return ops.transpose(columns.reshape(-1, channels * kernel_size * kernel_size, down * across), (0, 2, 1))


class UnfoldConv2d(nn.Cell):
    """A square convolution with bias whose result is tokens: (B, C, H, W) -> (B, H' * W', out_channels), row-major.

    The arithmetic of a convolution with zero padding on every side; windows are gathered by unfold and multiplied in
    one matrix product, which is many times faster on CPU when B is thousands of small patches.
    Initial values are PyTorch's for a convolution: U(+-1 / sqrt(fan_in)) for weight and bias.

    Args:
        in_channels: C.
        out_channels: channels of the result.
        kernel_size: side of the window.
        stride: step of the window.
        padding: rows and columns of zeros at each side.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int):
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        fan_in = in_channels * kernel_size * kernel_size
        bound = 1.0 / math.sqrt(fan_in)
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        self.weight = Parameter(initializer(Uniform(bound), shape), name="weight")
        self.bias = Parameter(initializer(Uniform(bound), (out_channels,)), name="bias")
        self.matmul = ops.MatMul(transpose_b=True)
        self.add_bias = AddBias()
        self.out_channels, self.fan_in = out_channels, fan_in

    def construct(self, x):
        windows = unfold(x, self.kernel_size, self.stride, self.padding)
        length = windows.shape[1]
        tokens = self.matmul(windows.reshape(-1, self.fan_in), self.weight.reshape(self.out_channels, self.fan_in))
        tokens = self.add_bias(tokens, self.bias)
        return tokens.reshape(-1, length, self.out_channels)
