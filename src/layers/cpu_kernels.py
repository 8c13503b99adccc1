"""Kernels of our own for CPUs: compiled once on each machine, where it has a C++ compiler.

What they compute and why is in cpu_kernels.cc. The library lies in the user's cache (XDG_CACHE_HOME, ~/.cache), under a
name that everything it follows from decides: source, compiler, options, processor. Without a compiler, or where a
folder or a process cannot be had, layers compute by MindSpore's operators as before.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mindspore as ms
from mindspore import ops

from ..files.cache_folder import cache_folder

SOURCE = Path(__file__).with_suffix(".cc")
SWITCH = "TNT_CPU_KERNELS"
COMPILERS = ("g++", "clang++", "c++")
OPTIONS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC", "-pthread")
NATIVE = ("-march=native", "-mcpu=native")
"""The processor's own instructions; which of the two a compiler takes depends on the processor."""

_SECONDS = 120


@dataclass(frozen=True)
class KernelLibrary:
    """The compiled kernels.

    Attributes:
        path: of the library; None where there is none.
        reason: why there is none.
    """

    path: Path | None
    reason: str = ""

    def shortcoming(self) -> str | None:
        """A line for the log; None where all is well."""
        if self.path is not None:
            return None
        return f"GELU, LayerNorm, softmax and bias gradients take MindSpore's slower operators: {self.reason}"


@cache
def kernel_library() -> KernelLibrary:
    """The library of this machine, compiled when it is asked for first. Never an error: what is wrong is its reason."""
    if os.environ.get(SWITCH, "1") == "0":
        return KernelLibrary(None, f"{SWITCH} is 0")
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))), None)
    if compiler is None:
        return KernelLibrary(None, "there is no C++ compiler; install g++")
    try:
        path = _compile(compiler)
        library = ctypes.CDLL(str(path))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: there is no home
        return KernelLibrary(None, f"{compiler} made no library of {SOURCE.name}: {_last_line(error)}")
    library.set_threads(_num_threads())
    return KernelLibrary(path)


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


def _compile(compiler: str) -> Path:
    """The library's file, made where it is not there."""
    version = subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=True
    ).stdout
    parts = (SOURCE.read_bytes(), version.encode(), repr((OPTIONS, NATIVE)).encode(), _processor().encode())
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    folder = cache_folder()
    path = folder / f"cpu_kernels-{digest}.so"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as inside:
            made = Path(inside) / path.name
            for native in NATIVE:
                command = [compiler, *OPTIONS, native, str(SOURCE), "-o", str(made)]
                ended = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
                if ended.returncode == 0:
                    break
            else:
                raise subprocess.SubprocessError(ended.stderr)
            os.replace(made, path)  # whole or not at all, whoever else is compiling
    return path


def has_avx512() -> bool:
    """Whether the processor has AVX-512."""
    return " avx512f" in _processor()


def _processor() -> str:
    """What -march=native follows from."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    kinds = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join([platform.machine(), *dict.fromkeys(line for line in lines if line.startswith(kinds))])


def _num_threads() -> int:
    """As many as OpenMP would take, by Python's own view: importing MindSpore sets OMP_NUM_THREADS behind its back."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else len(os.sched_getaffinity(0))


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
