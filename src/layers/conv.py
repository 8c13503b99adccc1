"""Convolution with PyTorch's conventions: explicit zero padding on every side, and a bias."""

import math
import os

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype
from mindspore.common.initializer import Normal

from .cpu_kernels import has_avx512, kernel, kernel_library, shape_of_first
from .cpu_operators import HasCpuOperators, is_static
from .custom_gradient import CustomGradient

ISA = "ONEDNN_MAX_CPU_ISA"
"""Environment variable that caps the instructions of MindSpore's matrix products and convolutions."""


def convolves_by_kernel() -> bool:
    """Whether `Conv2d` computes by kernels of our own.

    That is where MindSpore's convolutions are 20 to 120 times too slow: on CPUs with AVX-512, unless all its products
    are capped to AVX2, which halves the rate of matrix products.
    """
    is_cpu = ms.get_context("device_target") == "CPU"
    return is_cpu and ISA not in os.environ and has_avx512() and kernel_library().path is not None


class Conv2d(nn.Conv2d, HasCpuOperators):
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
        self.uses_kernels = self.uses_kernels and convolves_by_kernel()
        self.by_kernel = ConvolveByKernel(kernel_size, stride, padding) if self.uses_kernels else None

    def construct(self, x):
        if self.uses_kernels and is_static(x):
            return self.bias_add(self.by_kernel(x, self.weight), self.bias)
        return super().construct(x)


class ConvolveByKernel(CustomGradient):
    """A convolution without bias as the windows of all images and one matrix product, in float32.

    The windows are made anew for the derivative: kept, they would take several times the memory of the maps.

    Args:
        kernel_size, stride, padding: see `Conv2d`.
    """

    def __init__(self, kernel_size: int, stride: int, padding: int):
        super().__init__()
        self.window = Tensor(np.zeros((kernel_size, stride, padding + 1), np.float32))  # its shape tells the kernel
        self.fold = kernel("fold", shape_of_first)
        self.unfold = kernel("unfold", _shape_of_columns)
        self.multiply, self.multiply_transposed = ops.MatMul(), ops.MatMul(transpose_b=True)
        self.transposed_multiply = ops.MatMul(transpose_a=True)
        self.transpose = ops.Transpose()

    def construct(self, x, weight):
        """(B, C, H, W), (C', C, kernel, kernel) -> (B, C', H', W')."""
        height, width = _sides_of_result(x.shape, self.window.shape)
        columns = self.unfold(x.astype(mstype.float32), self.window)
        rows = self.multiply(weight.astype(mstype.float32).reshape(weight.shape[0], -1), columns)
        images = self.transpose(rows.reshape(weight.shape[0], x.shape[0], height * width), (1, 0, 2))
        return images.reshape(x.shape[0], weight.shape[0], height, width).astype(x.dtype)

    def bprop(self, x, weight, out, dout):
        images, channels = x.shape[0], weight.shape[0]
        x_32, weights = x.astype(mstype.float32), weight.astype(mstype.float32).reshape(channels, -1)
        rows = dout.astype(mstype.float32).reshape(images, channels, -1)
        rows = self.transpose(rows, (1, 0, 2)).reshape(channels, -1)
        dweight = self.multiply_transposed(rows, self.unfold(x_32, self.window)).reshape(weight.shape)
        dx = self.fold(x_32, self.window, self.transposed_multiply(weights, rows))
        return dx.astype(x.dtype), dweight.astype(weight.dtype)


def _shape_of_columns(x, window):
    """(B, C, H, W) and the shape of `ConvolveByKernel.window` -> (C * kernel * kernel, B * H' * W')."""
    height, width = _sides_of_result(x, window)
    return x[1] * window[0] * window[0], x[0] * height * width


def _sides_of_result(x, window):
    """The same -> (H', W')."""
    more = 2 * (window[2] - 1) - window[0]
    return (x[2] + more) // window[1] + 1, (x[3] + more) // window[1] + 1
