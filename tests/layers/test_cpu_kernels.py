"""Kernels of our own: against float64, against the forms without them, and on machines that have no compiler."""

import contextlib
import ctypes
import os
import shutil
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from scipy.special import erf, log_softmax

from src.files.compiled_library import SWITCH, compile_once, find_compiler
from src.layers import conv, cpu_kernels, cpu_operators
from src.layers.activation import GELU
from src.layers.bias import AddBias
from src.layers.cpu_kernels import KernelLibrary, kernel_library
from src.layers.linear import Linear
from src.layers.norm import LayerNorm
from src.layers.softmax import Softmax
from src.models import create_model
from tests.unusable_cache import no_folder, no_home

ROWS = [(1, 1), (3, 5), (7, 24), (50, 64), (33, 147), (2, 384), (70_001, 16)]
HAS_LIBRARY = kernel_library().path is not None


class Kernels:
    """The library, called as MindSpore does; a copy, which has threads of its own."""

    def __init__(self, folder: Path, threads: int):
        path = folder / f"kernels_{threads}.so"
        shutil.copy(kernel_library().path, path)
        self.library = ctypes.CDLL(str(path))
        self.library.set_threads(threads)

    def __call__(self, name: str, *arrays: np.ndarray) -> None:
        count = len(arrays)
        params = (ctypes.c_void_p * count)(*(array.ctypes.data for array in arrays))
        ndims = (ctypes.c_int * count)(*(array.ndim for array in arrays))
        shapes = [(ctypes.c_int64 * array.ndim)(*array.shape) for array in arrays]
        pointers = (ctypes.POINTER(ctypes.c_int64) * count)(*shapes)
        assert getattr(self.library, name)(count, params, ndims, pointers, None, None, None) == 0


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def all_outputs(kernels: Kernels, rows: int, width: int) -> dict[str, np.ndarray]:
    """What every kernel gives for inputs of one shape."""
    x, dy, gamma, beta = drawn(rows, width) * 3, drawn(rows, width, seed=1), drawn(width), drawn(width, seed=1)
    like, row, column = (np.empty_like(array) for array in (x, gamma, x[:, :1].copy()))
    found = {name: like.copy() for name in ("gelu", "gelu_grad", "norm", "norm_grad", "softmax", "softmax_grad")}
    found |= {"mean": column.copy(), "scale": column.copy()}
    found |= {name: row.copy() for name in ("gamma_grad", "beta_grad", "sums")}
    kernels("gelu", x, found["gelu"])
    kernels("gelu_grad", x, dy, found["gelu_grad"])
    kernels("layer_norm", x, gamma, beta, found["norm"], found["mean"], found["scale"])
    gradients = (found[name] for name in ("norm_grad", "gamma_grad", "beta_grad"))
    kernels("layer_norm_grad", x, gamma, found["mean"], found["scale"], dy, *gradients)
    kernels("softmax", x, found["softmax"])
    kernels("softmax_grad", found["softmax"], dy, found["softmax_grad"])
    kernels("sum_rows", dy, found["sums"])
    return found


def expected_outputs(rows: int, width: int) -> dict[str, np.ndarray]:
    """The same by NumPy in float64."""
    x, dy, gamma, beta = drawn(rows, width) * 3, drawn(rows, width, seed=1), drawn(width), drawn(width, seed=1)
    x, dy, gamma, beta = (array.astype(np.float64) for array in (x, dy, gamma, beta))
    share = 0.5 * (1 + erf(x / np.sqrt(2)))
    mean, scale = x.mean(1, keepdims=True), 1 / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    n, g = (x - mean) * scale, dy * gamma
    y = np.exp(log_softmax(x, axis=1))
    return {
        "gelu": x * share,
        "gelu_grad": dy * (share + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)),
        "norm": n * gamma + beta,
        "mean": mean,
        "scale": scale,
        "norm_grad": scale * (g - g.mean(1, keepdims=True) - n * (g * n).mean(1, keepdims=True)),
        "gamma_grad": (dy * n).sum(0),
        "beta_grad": dy.sum(0),
        "softmax": y,
        "softmax_grad": y * (dy - (dy * y).sum(1, keepdims=True)),
        "sums": dy.sum(0),
    }


@pytest.fixture
def has_library():
    if not HAS_LIBRARY:
        pytest.skip(kernel_library().reason)


@pytest.mark.usefixtures("has_library")
@pytest.mark.parametrize(("rows", "width"), ROWS)
def test_against_float64(rows, width, tmp_path):
    found, expected = all_outputs(Kernels(tmp_path, 2), rows, width), expected_outputs(rows, width)
    for name, values in expected.items():
        bound = 3e-6 * max(np.abs(values).max(), 1.0)
        np.testing.assert_allclose(found[name], values, rtol=0, atol=bound, err_msg=name)


@pytest.mark.usefixtures("has_library")
def test_the_same_bits_on_any_number_of_threads(tmp_path):
    one, three = (all_outputs(Kernels(tmp_path, threads), 5_000, 40) for threads in (1, 3))
    assert all(values.tobytes() == three[name].tobytes() for name, values in one.items())


@pytest.mark.usefixtures("has_library")
def test_infinities_and_nan_come_out(tmp_path):
    """A loss scale that overflows is noticed by them."""
    kernels = Kernels(tmp_path, 1)
    for value in (np.nan, np.inf):
        x = drawn(4, 24)
        x[1, 5] = value
        dy, gamma, beta = drawn(4, 24, seed=1), np.ones(24, np.float32), np.zeros(24, np.float32)
        y, mean, scale = np.empty_like(x), np.empty((4, 1), np.float32), np.empty((4, 1), np.float32)
        kernels("gelu", x, y)
        assert not np.isfinite(y[1, 5]) and np.isfinite(np.delete(y.ravel(), 29)).all()
        kernels("softmax", x, y)
        assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2, 3]]).all()
        kernels("layer_norm", x, gamma, beta, y, mean, scale)
        assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2, 3]]).all()
        sums = np.empty(24, np.float32)
        kernels("sum_rows", x, sums)
        assert not np.isfinite(sums[5]) and np.isfinite(np.delete(sums, 5)).all()
        dy[2, 3] = value
        kernels("gelu_grad", drawn(4, 24), dy, y)
        assert not np.isfinite(y[2, 3])


@pytest.fixture
def convolving(has_library, monkeypatch):
    """As on a CPU with AVX-512 whose products are not capped. Here they are, which makes MindSpore's own fast."""
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(conv, "has_avx512", lambda: True)


class Gradients(nn.Cell):
    def __init__(self, cell: nn.Cell):
        super().__init__()
        self.cell = cell
        self.gradients = (
            ops.GradOperation(get_all=True, get_by_list=True, sens_param=True)(cell, list(cell.trainable_params()))
            if any(True for _ in cell.trainable_params())
            else ops.GradOperation(get_all=True, sens_param=True)(cell)
        )

    def construct(self, x, sens):
        return self.gradients(x, sens)


class WithBias(nn.Cell):
    def __init__(self):
        super().__init__()
        self.bias = ms.Parameter(drawn(24), name="bias")
        self.add = AddBias()

    def construct(self, x):
        return self.add(x.reshape(-1, 24), self.bias)


def flat(values) -> list[np.ndarray]:
    if isinstance(values, Tensor):
        return [values.asnumpy()]
    return [array for value in values for array in flat(value)]


@pytest.mark.usefixtures("has_library")
@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE], ids=["eager", "graph"])
@pytest.mark.parametrize(
    "create", [GELU, lambda: LayerNorm(24), Softmax, WithBias], ids=["gelu", "norm", "softmax", "bias"]
)
def test_layers_are_equal_with_and_without(create, mode, monkeypatch):
    ms.set_context(mode=mode)
    x = Tensor(drawn(3, 5, 24))
    results = []
    for library in (kernel_library(), KernelLibrary(None, "a test")):
        monkeypatch.setattr(cpu_operators, "kernel_library", lambda library=library: library)
        cell = create()
        out = cell(x)
        sens = Tensor(drawn(*out.shape, seed=2))
        results.append(flat([out, Gradients(cell)(x, sens)]))
    for with_kernels, without in zip(*results, strict=True):
        np.testing.assert_allclose(with_kernels, without, rtol=0, atol=3e-6)


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE], ids=["eager", "graph"])
@pytest.mark.parametrize("window", [(3, 1, 1), (3, 2, 1), (1, 1, 0), (7, 4, 3), (5, 3, 0), (3, 2, 3)], ids=str)
@pytest.mark.parametrize("sides", [(13, 8), (7, 40)], ids=str)
def test_convolution_is_equal_with_and_without(window, sides, mode, convolving):
    ms.set_context(mode=mode)
    cell = conv.Conv2d(3, 5, *window)
    assert cell.uses_kernels
    cell.bias.set_data(Tensor(drawn(5)))
    x = Tensor(drawn(4, 3, *sides))
    results = []
    for uses_kernels in (True, False):
        own = conv.Conv2d(3, 5, *window)
        own.uses_kernels = uses_kernels
        own.weight, own.bias = cell.weight, cell.bias
        out = own(x)
        results.append(flat([out, Gradients(own)(x, Tensor(drawn(*out.shape, seed=2)))]))
    for with_kernels, without in zip(*results, strict=True):
        np.testing.assert_allclose(with_kernels, without, rtol=0, atol=1e-5 * max(np.abs(without).max(), 1.0))


def test_convolution_in_half_precision(convolving):
    ms.set_context(mode=ms.GRAPH_MODE)
    cell = conv.Conv2d(3, 5, 3, 2, 1)
    x = Tensor(drawn(2, 3, 16, 16))
    exact = cell(x).asnumpy()
    half = conv.Conv2d(3, 5, 3, 2, 1).to_float(ms.float16)
    half.weight.set_data(cell.weight), half.bias.set_data(cell.bias)
    found = half(x)
    assert half.uses_kernels and found.dtype == ms.float16
    np.testing.assert_allclose(found.asnumpy(), exact, rtol=0, atol=3e-3 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("capped", "avx512", "library", "expected"),
    [(False, True, True, True), (True, True, True, False), (False, False, True, False), (False, True, False, False)],
)
def test_where_convolutions_are_by_kernel(capped, avx512, library, expected, monkeypatch):
    monkeypatch.setattr(conv, "has_avx512", lambda: avx512)
    monkeypatch.setattr(conv, "kernel_library", lambda: KernelLibrary(Path("a.so") if library else None))
    if capped:
        monkeypatch.setenv(conv.ISA, "AVX2")
    else:
        monkeypatch.delenv(conv.ISA, raising=False)
    assert conv.convolves_by_kernel() == expected


@pytest.mark.usefixtures("has_library")
def test_half_precision_and_open_shapes_take_other_forms(monkeypatch):
    ms.set_context(mode=ms.GRAPH_MODE)
    layer = GELU()
    assert layer.uses_kernels
    half = layer(Tensor(drawn(4, 8)).astype(ms.float16))
    assert half.dtype == ms.float16
    net = nn.SequentialCell(Linear(8, 8), LayerNorm(8), GELU(), Softmax())
    fixed = net(Tensor(drawn(4, 8))).asnumpy()
    net.set_inputs(Tensor(shape=[None, 8], dtype=ms.float32))
    np.testing.assert_allclose(net(Tensor(drawn(4, 8))).asnumpy(), fixed, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("has_library")
def test_exported_files_have_none_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ms.set_context(mode=ms.GRAPH_MODE)
    structure = {"depth": 1, "embed_dim": 8, "num_heads": 2, "num_classes": 3, "image_size": 32}
    x = Tensor(drawn(1, 3, 32, 32))
    for name in ("own", "net"):
        net = create_model("t2t_vit_7", **structure).set_train(False)
        with contextlib.nullcontext() if name == "own" else cpu_operators.native_operators(net):
            ms.export(net, x, file_name=name, file_format="MINDIR")
    assert b"Custom" in Path("own.mindir").read_bytes()  # the look finds it where it is
    assert b"Custom" not in Path("net.mindir").read_bytes()


@pytest.mark.usefixtures("has_library")
def test_compiled_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = kernel_library.__wrapped__()
    assert first.reason == "" and first.shortcoming() is None
    assert [path.name for path in (tmp_path / "tnt-mindspore").iterdir()] == [first.path.name]
    before = first.path.stat().st_mtime_ns
    assert kernel_library.__wrapped__() == first and first.path.stat().st_mtime_ns == before


def _no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


def _broken_compiler(monkeypatch, tmp_path):
    script = tmp_path / "broken"
    script.write_text("#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho 'no such header' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))


def _damaged(monkeypatch, tmp_path):
    compile_once(cpu_kernels.SOURCE, cpu_kernels.OPTIONS, find_compiler()).write_bytes(b"no library")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_no_compiler, "there is no C++ compiler; install g++"),
        (_broken_compiler, "made no library of cpu_kernels.cc: no such header"),
        (no_folder, "made no library of cpu_kernels.cc: "),
        (no_home, "made no library of cpu_kernels.cc: Could not determine home directory."),
        (_damaged, "made no library of cpu_kernels.cc: "),
        (lambda monkeypatch, tmp_path: monkeypatch.setenv(SWITCH, "0"), f"{SWITCH} is 0"),
    ],
    ids=["no compiler", "broken compiler", "no folder", "no home", "damaged", "switched off"],
)
def test_without_a_library(change, reason, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    change(monkeypatch, tmp_path)
    found = kernel_library.__wrapped__()
    assert found.path is None and reason in found.reason
    assert "take MindSpore's slower operators: " in found.shortcoming() and "\n" not in found.shortcoming()


def test_threads(monkeypatch):
    for value, expected in (("3", 3), ("0", None), ("many", None), ("", None)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert cpu_kernels._num_threads() == (expected or len(os.sched_getaffinity(0)))
