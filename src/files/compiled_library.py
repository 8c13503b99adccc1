"""C++ sources of the project, compiled once on each machine that has a compiler.

A library lies in the user's cache (XDG_CACHE_HOME, ~/.cache), under a name that everything it follows from decides:
source, compiler, options, processor. Any number of processes may compile it at once.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .cache_folder import cache_folder

SWITCH = "TNT_CPU_KERNELS"
COMPILERS = ("g++", "clang++", "c++")
OPTIONS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
NATIVE = ("-march=native", "-mcpu=native")
"""The processor's own instructions; which of the two a compiler takes depends on the processor."""

_SECONDS = 120


@dataclass(frozen=True)
class CompiledLibrary:
    """A source, compiled.

    Attributes:
        path: of the library, which can be loaded; None where there is none.
        reason: why there is none.
    """

    path: Path | None
    reason: str = ""


def compiled_library(source: Path, options: Sequence[str]) -> CompiledLibrary:
    """The library of a source on this machine. Never an error: what is wrong is its reason.

    Args:
        source: one file, which includes nothing but the standard library.
        options: of the compiler, besides `OPTIONS` and one of `NATIVE`.
    """
    if os.environ.get(SWITCH, "1") == "0":
        return CompiledLibrary(None, f"{SWITCH} is 0")
    compiler = find_compiler()
    if compiler is None:
        return CompiledLibrary(None, "there is no C++ compiler; install g++")
    try:
        path = compile_once(source, options, compiler)
        ctypes.CDLL(str(path))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: there is no home
        return CompiledLibrary(None, f"{compiler} made no library of {source.name}: {_last_line(error)}")
    return CompiledLibrary(path)


def find_compiler() -> str | None:
    """CXX, or the first of `COMPILERS` that is there."""
    return next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))), None)


def compile_once(source: Path, options: Sequence[str], compiler: str) -> Path:
    """The library's file, made where it is not there.

    Raises:
        OSError, RuntimeError, subprocess.SubprocessError: there is no place for it, or the compiler fails.
    """
    version = subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=True
    ).stdout
    chosen = (*OPTIONS, *options)
    parts = (source.read_bytes(), version.encode(), repr((chosen, NATIVE)).encode(), processor().encode())
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    folder = cache_folder()
    path = folder / f"{source.stem}-{digest}.so"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as inside:
            made = Path(inside) / path.name
            for native in NATIVE:
                command = [compiler, *chosen, native, str(source), "-o", str(made)]
                ended = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
                if ended.returncode == 0:
                    break
            else:
                raise subprocess.SubprocessError(ended.stderr)
            os.replace(made, path)  # whole or not at all, whoever else is compiling
    return path


def processor() -> str:
    """What -march=native follows from."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    kinds = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join([platform.machine(), *dict.fromkeys(line for line in lines if line.startswith(kinds))])


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
