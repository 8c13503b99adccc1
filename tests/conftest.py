"""Set-up of every test: graph mode on CPU, the convolution setting, and a working directory of its own."""

import gc
import os

os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")  # before MindSpore's first operator, as src.devices.device does

import mindspore as ms
import pytest
from mindspore import nn

from tests.equal_graphs import EqualGraphs


@pytest.fixture(autouse=True)
def clean_start(tmp_path, monkeypatch):
    """MindSpore leaves folders in the working directory after errors; modes must not leak between tests.

    In PyNative mode it would hand each operator to threads that wait for the next one at full speed, and so take the
    cores from other tests: a third of the time of two files that run side by side.
    """
    monkeypatch.chdir(tmp_path)
    ms.set_context(mode=ms.GRAPH_MODE, pynative_synchronize=True)
    ms.set_seed(1)


@pytest.fixture(autouse=True, scope="module")
def few_objects_to_look_through():
    """MindSpore collects garbage before each compilation, which takes long beside the objects of thousands of tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["graph", "pynative"])
def mode(request):
    """Runs a test in graph mode and in PyNative mode."""
    ms.set_context(mode=ms.GRAPH_MODE if request.param == "graph" else ms.PYNATIVE_MODE)
    return request.param


@pytest.fixture(scope="module")
def equal_graphs():
    """Cells that compute what an earlier one of the file did are not compiled again."""
    graphs = EqualGraphs()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Cell, "compile", lambda cell, *inputs, **more: graphs.compile(cell, *inputs, **more))
        patch.setattr(
            nn.Cell, "compile_and_run", lambda cell, *inputs, **more: graphs.compile_and_run(cell, *inputs, **more)
        )
        yield
