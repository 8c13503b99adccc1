"""Kernels of our own for CPUs: compiled once on each machine, where it has a C++ compiler.

What they compute and why is in cpu_kernels.cc, how they are compiled in `src.files.compiled_library`. Without a
compiler, or where a folder or a process cannot be had, layers compute by MindSpore's operators as before.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import mindspore as ms
from mindspore import ops

from ..files.compiled_library import CompiledLibrary, compiled_library, processor

SOURCE = Path(__file__).with_suffix(".cc")
OPTIONS = ("-pthread",)


class KernelLibrary(CompiledLibrary):
    """The compiled kernels."""

    def shortcoming(self) -> str | None:
        """A line for the log; None where all is well."""
        if self.path is not None:
            return None
        return f"GELU, LayerNorm, softmax and bias gradients take MindSpore's slower operators: {self.reason}"


@cache
def kernel_library() -> KernelLibrary:
    """The library of this machine, compiled when it is asked for first. Never an error: what is wrong is its reason."""
    library = compiled_library(SOURCE, OPTIONS)
    if library.path is not None:
        ctypes.CDLL(str(library.path)).set_threads(_num_threads())
    return KernelLibrary(library.path, library.reason)


@cache
def kernel(name: str, shapes: Callable[..., Sequence], num_outputs: int = 1) -> ops.Custom | None:
    """A function of the library as an operator of float32 tensors; None where there is no library.

    Args:
        name: of the function.
        shapes: its inputs' shapes -> its output's, a tuple of them where there are several.
        num_outputs: how many it has.
    """
    path = kernel_library().path
    if path is None:
        return None
    types = ms.float32 if num_outputs == 1 else (ms.float32,) * num_outputs
    return ops.Custom(f"{path}:{name}", shapes, types, "aot")


def shape_of_first(x, *others):
    """The output's shape where it is that of the first input."""
    return x


def has_avx512() -> bool:
    """Whether the processor has AVX-512."""
    return " avx512f" in processor()


def _num_threads() -> int:
    """As many as OpenMP would take, by Python's own view: importing MindSpore sets OMP_NUM_THREADS behind its back."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else len(os.sched_getaffinity(0))
