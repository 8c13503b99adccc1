"""Exact GELU; MindSpore's `nn.GELU()` is the tanh approximation (0.84119 instead of 0.84134 at 1)."""

import math

from mindspore import dtype as mstype
from mindspore import nn, ops

from .cpu_kernels import kernel, shape_of_first
from .cpu_operators import HasCpuOperators, is_static
from .custom_gradient import CustomGradient


class GELU(HasCpuOperators):
    """x * Phi(x), with the Gauss error function and not its tanh approximation; any shape.

    Source: Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.
    """

    def __init__(self):
        super().__init__()
        self.share = GaussianShare()
        self.value_and_share = ValueAndShare()
        self.by_kernel = GeluByKernel() if self.uses_kernels else None
        self.has_custom_gradient = True

    def construct(self, x):
        if not self.has_custom_gradient:
            return x * self.share(x)
        if self.uses_kernels and x.dtype == mstype.float32 and is_static(x):
            return self.by_kernel(x)
        return self.value_and_share(x)[0]


class GaussianShare(nn.Cell):
    """Phi(x)."""

    def __init__(self):
        super().__init__()
        self.erf = ops.Erf()

    def construct(self, x):
        return self.erf(x * math.sqrt(0.5)) * 0.5 + 0.5


class ValueAndShare(CustomGradient):
    """x -> x * Phi(x), and Phi(x), which the derivative Phi(x) + x * phi(x) needs again.

    MindSpore's derivative of `ops.Erf` is a graph of a dozen operators, one of which (PowTensorScalar) is documented
    for Ascend only.
    """

    def __init__(self):
        super().__init__()
        self.share = GaussianShare()
        self.exp, self.square = ops.Exp(), ops.Square()

    def construct(self, x):
        share = self.share(x)
        return x * share, share

    def bprop(self, x, out, dout):
        density = self.exp(self.square(x) * -0.5) * (1.0 / math.sqrt(2.0 * math.pi))
        return (dout[0] * (out[1] + x * density),)


class GeluByKernel(CustomGradient):
    """The same of float32, forward and backward in one pass each; nothing but x is kept for the derivative."""

    def __init__(self):
        super().__init__()
        self.forward, self.backward = kernel("gelu", shape_of_first), kernel("gelu_grad", shape_of_first)

    def construct(self, x):
        return self.forward(x)

    def bprop(self, x, out, dout):
        return (self.backward(x, dout),)
