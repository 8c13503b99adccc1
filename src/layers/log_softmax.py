"""Logarithm of the softmax over the last axis."""

from mindspore import ops

from .custom_gradient import CustomGradient


class LogSoftmax(CustomGradient):
    """x - log(sum of exp(x)) over the last axis, float32 of any shape.

    From single operators: MindSpore's own, on CPU, has returned min(x, 0) in its place, from some execution of a
    compiled training step on, where a memory allocator other than glibc's was loaded. By Log1p, as in `StableSoftplus`.
    """

    def construct(self, x):
        shifted = x - x.max(axis=-1, keepdims=True)
        return shifted - ops.log1p(ops.exp(shifted).sum(axis=-1, keepdims=True) - 1.0)

    def bprop(self, x, out, dout):
        return (dout - ops.exp(out) * dout.sum(axis=-1, keepdims=True),)
