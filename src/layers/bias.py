"""Adding a bias to rows."""

from mindspore import dtype as mstype
from mindspore import nn, ops

TYPE_FLAGS = ("fp16", "bf16", "fp32")


class AddBias(nn.Cell):
    """x + bias, (R, dim) and (dim,) -> (R, dim).

    In the type of x, whatever `to_float` says: the bias' gradient has the type of the bias then.

    That gradient is a sum over rows. `ops.BiasAddGrad`, which MindSpore would take for it, needs several times as long
    on CPU as `ops.ReduceSum`.
    """

    def __init__(self):
        super().__init__()
        self.add = ops.BiasAdd()
        self.sum = ops.ReduceSum()
        self.cast = ops.Cast()

    def add_flags_recursive(self, **flags):
        """Sets flags as every Cell does, but no type (`to_float` of outer cells comes here)."""
        return super().add_flags_recursive(**{name: flags[name] for name in flags if name not in TYPE_FLAGS})

    def construct(self, x, bias):
        return self.add(x, self.cast(bias, x.dtype))

    def bprop(self, x, bias, out, dout):
        return dout, self.cast(self.sum(self.cast(dout, mstype.float32), 0), bias.dtype)
