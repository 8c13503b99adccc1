"""Graphs of which it is known what becomes of them on GPU: gpu_control.py good | cpu | nowhere"""

import sys

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.ops.operations.math_ops import Fmax


class Control(nn.Cell):
    """An operator as a graph."""

    def __init__(self, operator):
        super().__init__()
        self.operator = operator

    def construct(self, *inputs):
        return self.operator(*inputs)


GRAPHS = {
    "good": [(ops.ReLU, ms.float32, 1), (ops.Erf, ms.float16, 1), (ops.MatMul, ms.float32, 2)],
    "cpu": [(Fmax, ms.float32, 2), (ops.LogicalXor, ms.bool_, 2), (ops.MatMul, ms.int32, 2)],
    "nowhere": [(ops.MatMul, ms.bfloat16, 2)],
}
"""Operator, type and number of its inputs."""

if __name__ == "__main__":
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("GPU")
    for operator, dtype, number in GRAPHS[sys.argv[1]]:
        Control(operator())(*[Tensor(np.ones((4, 4)), dtype)] * number).asnumpy()
