"""Adding a bias to rows."""

from mindspore import dtype as mstype
from mindspore import ops

from .cpu_kernels import kernel
from .cpu_operators import HasCpuOperators, is_static
from .custom_gradient import CustomGradient


class AddBias(CustomGradient, HasCpuOperators):
    """x + bias, (R, dim) and (dim,) -> (R, dim).

    In the type of x; the bias' gradient has the type of the bias. It is a sum over rows, for which `ops.BiasAddGrad`,
    MindSpore's choice, needs several times as long on CPU as `ops.ReduceSum`.
    """

    add, sum, cast = ops.BiasAdd(), ops.ReduceSum(), ops.Cast()  # of the class: a network has hundreds of these

    def __init__(self):
        super().__init__()
        self.sum_rows = kernel("sum_rows", _shape_of_bias) if self.uses_kernels else None

    def construct(self, x, bias):
        return self.add(x, self.cast(bias, x.dtype))

    def bprop(self, x, bias, out, dout):
        dout_32 = self.cast(dout, mstype.float32)
        total = self.sum_rows(dout_32) if self.uses_kernels and is_static(dout) else self.sum(dout_32, 0)
        return dout, self.cast(total, bias.dtype)


def _shape_of_bias(x):
    return (x[1],)
