"""Layers that compute on CPUs by other operators than elsewhere, because MindSpore's own are several times slower.

Which form a layer has is decided when it is built, here and nowhere else. Both are tested to be equal; what each gains
is in docs/performance.md. Exported files and the audit of operators have the native form: they are for any device.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import mindspore as ms
from mindspore import nn


class HasCpuOperators(nn.Cell):
    """Base of such a layer: `construct` asks `uses_cpu_operators`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.uses_cpu_operators = ms.get_context("device_target") == "CPU"


@contextmanager
def native_operators(net: nn.Cell) -> Iterator[None]:
    """Gives all layers of `net` their native form, for what is compiled meanwhile."""
    layers = [
        cell for _, cell in net.cells_and_names() if isinstance(cell, HasCpuOperators) and cell.uses_cpu_operators
    ]
    for layer in layers:
        layer.uses_cpu_operators = False
    try:
        yield
    finally:
        for layer in layers:
            layer.uses_cpu_operators = True
