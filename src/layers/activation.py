"""Exact GELU; MindSpore's `nn.GELU()` is the tanh approximation (0.84119 instead of 0.84134 at 1)."""

import math

from mindspore import nn, ops


class GELU(nn.Cell):
    """x * Phi(x), with the Gauss error function and not its tanh approximation; any shape.

    Source: Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.
    """

    def __init__(self):
        super().__init__()
        self.erf = ops.Erf()

    def construct(self, x):
        return x * (self.erf(x * (1.0 / math.sqrt(2.0))) * 0.5 + 0.5)
