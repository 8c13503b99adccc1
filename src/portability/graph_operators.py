"""Which operators a network or a training step is compiled into, before a device's own compiler sees it."""

import os
import tempfile
from collections import Counter

import mindspore as ms
from mindspore import Tensor, nn

from ..layers.cpu_operators import native_operators

_CALL = "REF::"


def list_operators(cell: nn.Cell, *inputs: Tensor) -> Counter[str]:
    """How often each operator is called in the graph of `cell`: forward only, or with everything that a training step
    does, the derivatives that MindSpore adds included.

    MindSpore's exporter hands the graph over as a protobuf message. Nothing is run, and no weights are written.
    Branches count whether they are taken or not. Layers with a form of their own for CPUs are in the native one.

    Args:
        cell: in the mode, training or evaluation, that it is in.
        inputs: as for a call; `Tensor(shape=[None, ...], dtype=...)` where a size may vary.

    Raises:
        RuntimeError: the graph holds a node of a kind that is not known here.
    """
    found: Counter[str] = Counter()

    def read(model):
        names = {primitive.name: primitive.op_type for primitive in model.primitives}
        graphs = [model.graph, *model.functions]
        nodes = {output for graph in graphs for node in graph.node for output in node.output}
        for node in (node for graph in graphs for node in graph.node):
            called = node.op_type.removeprefix(_CALL)
            if called in names:
                found[names[called]] += 1
            elif node.op_type != "Constant" and called not in nodes | {graph.name for graph in graphs}:
                raise RuntimeError(f"{node.op_type}: not an operator, a constant or a graph; the format has changed")
        del model.graph.parameter[:]  # so that no weights are written

    before = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="operators-") as folder:
        os.chdir(folder)
        try:
            with native_operators(cell):
                ms.export(cell, *inputs, file_name="graph", file_format="MINDIR", custom_func=read)
        finally:
            os.chdir(before)
    return found
