"""Softplus."""

from mindspore import nn, ops


class StableSoftplus(nn.Cell):
    """log(1 + exp(x)), for any x.

    By Log1p: what MindSpore's Log on CPU gives differs in the last digit at the ends of a thread's share, and threads
    are tried out over the first executions, so that a resumed run would not end with the same bits.
    """

    def construct(self, x):
        return ops.maximum(x, 0.0) + ops.log1p(ops.exp(-ops.abs(x)))

    def bprop(self, x, out, dout):
        return (ops.sigmoid(x) * dout,)
