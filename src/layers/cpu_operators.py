"""Layers that compute on CPUs by other operators than elsewhere, because MindSpore's own are several times slower.

Which form a layer has is decided when it is built, here and nowhere else: on CPUs kernels of our own where they could
be compiled (cpu_kernels.py), else the fastest of MindSpore's operators. All are tested to be equal; what each gains is
in docs/performance.md. Exported files and the audit of operators have the native form: they are for any device.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import mindspore as ms
from mindspore import nn
from mindspore.ops import functional as F

from .cpu_kernels import kernel_library


class HasCpuOperators(nn.Cell):
    """Base of such a layer: `construct` asks `uses_cpu_operators`, and `uses_kernels`, which is never without it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.uses_cpu_operators = ms.get_context("device_target") == "CPU"
        self.uses_kernels = self.uses_cpu_operators and kernel_library().path is not None


def is_static(x: ms.Tensor) -> bool:
    """Whether all sides of a tensor are known when the graph is compiled: operators of our own need that."""
    return not F.is_sequence_value_unknown(x.shape)


@contextmanager
def native_operators(net: nn.Cell) -> Iterator[None]:
    """Gives all layers of `net` their native form, for what is compiled meanwhile."""
    layers = [cell for _, cell in net.cells_and_names() if isinstance(cell, HasCpuOperators)]
    before = [(layer.uses_cpu_operators, layer.uses_kernels) for layer in layers]
    for layer in layers:
        layer.uses_cpu_operators = layer.uses_kernels = False
    try:
        yield
    finally:
        for layer, (operators, kernels) in zip(layers, before, strict=True):
            layer.uses_cpu_operators, layer.uses_kernels = operators, kernels
