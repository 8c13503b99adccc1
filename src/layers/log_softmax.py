"""Logarithm of the softmax over the last axis."""

from mindspore import ops

from .custom_gradient import CustomGradient


class LogSoftmax(CustomGradient):
    """x - log(sum of exp(x)) over the last axis, float32 of any shape.

    From single operators: MindSpore's own, on CPU, has returned min(x, 0) in its place, from some execution of a
    compiled training step on, where a memory allocator other than glibc's was loaded. By Log1p, as in `StableSoftplus`.
    """

    def __init__(self):
        super().__init__()
        self.max, self.sum = ops.ReduceMax(keep_dims=True), ops.ReduceSum(keep_dims=True)

    def construct(self, x):
        shifted = x - self.max(x, -1)
        return shifted - ops.log1p(self.sum(ops.exp(shifted), -1) - 1.0)

    def bprop(self, x, out, dout):
        return (dout - ops.exp(out) * self.sum(dout, -1),)
