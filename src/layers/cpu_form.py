"""Layers that compute on CPUs by other operators than elsewhere, because MindSpore's own are several times slower.

Which form a layer has is decided when it is built, here and nowhere else. Both are tested to be equal; what each gains
is in docs/performance.md. Exported files and the audit of operators have the native form: they are for any device.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import mindspore as ms
from mindspore import nn


class HasCpuForm(nn.Cell):
    """Base of such a layer: `construct` asks `has_cpu_form`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.has_cpu_form = ms.get_context("device_target") == "CPU"


@contextmanager
def native_forms(net: nn.Cell) -> Iterator[None]:
    """All layers of `net` in their native form, for what is compiled meanwhile."""
    layers = [cell for _, cell in net.cells_and_names() if isinstance(cell, HasCpuForm) and cell.has_cpu_form]
    for layer in layers:
        layer.has_cpu_form = False
    try:
        yield
    finally:
        for layer in layers:
            layer.has_cpu_form = True
