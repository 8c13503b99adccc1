"""CUDA's stand-ins for MindSpore's GPU plugin, made once on each machine: a library under the names of CUDA's, and an
`nvcc` that tells its version. They lie in the user's cache, under a name that everything they follow from decides."""

import hashlib
import importlib.util
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from src.errors import UserError, writing_error
from src.files.cache_folder import cache_folder

SOURCE = Path(__file__).with_name("cuda.c")
PLUGIN = "libmindspore_gpu.so.11.6"
KERNELS = "libcuda_ops.so.11"
"""MindSpore's own CUDA kernels; the name of the stand-in too, so that it is there before them."""

LIBRARIES = (
    *("libcuda.so.1", "libcudart.so.11.0", "libcudart.so.11.6.55", "libnvrtc.so.11.2"),
    *("libcublas.so.11", "libcublasLt.so.11", "libcudnn.so.8", "libcudnn.so.8.5.0"),
    *("libcurand.so.10", "libcufft.so.10", "libcusolver.so.11", "libcusparse.so.11"),
)
PREFIXES = ("cuda", "cublas", "cudnn", "curand", "cusolver", "cufft", "cusparse", "nvrtc")
"""Of what the plugin imports from them; the driver's names are 'cu' and a capital letter."""

NVCC = '#!/bin/sh\necho "Cuda compilation tools, release 11.6, V11.6.124"\n'
TOOLS = ("gcc", "nm")

_SECONDS = 300


@dataclass(frozen=True)
class StandIns:
    """A folder that looks like CUDA's.

    Attributes:
        folder: with bin/ and lib64/.
    """

    folder: Path

    @property
    def library(self) -> Path:
        return self.folder / "lib64" / KERNELS

    def environment(self, of: dict[str, str]) -> dict[str, str]:
        """Variables `of` a process, changed so that it finds the stand-ins and nothing else."""
        libraries = [str(self.folder / "lib64"), of.get("LD_LIBRARY_PATH", "")]
        return of | {
            "CUDA_HOME": str(self.folder),
            "CUDA_PATH": str(self.folder),
            "LD_PRELOAD": str(self.library),
            "PATH": f"{self.folder / 'bin'}:{of.get('PATH', '')}",
            "LD_LIBRARY_PATH": ":".join(filter(None, libraries)),
        }


def plugin_folder() -> Path:
    """Where the installed MindSpore has its plugins.

    Raises:
        UserError: there is none for GPU, or what makes the stand-ins is missing, or the machine is of another kind.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise UserError(f"a dry run needs Linux on x86-64, got {sys.platform} on {platform.machine()}")
    for tool in TOOLS:
        if shutil.which(tool) is None:
            raise UserError(f"a dry run needs {' and '.join(TOOLS)}, and there is no {tool}; install gcc and binutils")
    package = importlib.util.find_spec("mindspore")
    if package is None:
        raise UserError("MindSpore is not installed here; see requirements.txt")
    folder = Path(package.submodule_search_locations[0]) / "lib/plugin"
    for file in (folder / PLUGIN, folder / "gpu" / KERNELS):
        if not file.is_file():
            raise UserError(
                f"MindSpore {version('mindspore')} has no {file.name} here, its plugin for GPU and CUDA 11.6"
            )
    return folder


def stand_ins() -> StandIns:
    """Those for the installed MindSpore, made where they are not there.

    Raises:
        UserError: they cannot be made; see `plugin_folder`.
    """
    plugins = plugin_folder()
    parts = [SOURCE.read_bytes(), Path(__file__).read_bytes(), version("mindspore").encode()]
    parts += [str((plugins / name).stat().st_size).encode() for name in (PLUGIN, f"gpu/{KERNELS}")]
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    try:
        folder = cache_folder() / f"gpu_dry_run-{digest}"
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as inside:
                made = Path(inside) / folder.name
                _make(plugins, made)
                _take_place(made, folder)
    except RuntimeError as error:
        raise UserError(f"a dry run keeps a library in the user's cache: {error}; set XDG_CACHE_HOME") from error
    except OSError as error:
        raise writing_error(f"cannot make the library of a dry run: {error}", error) from error
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise UserError(f"cannot make the library of a dry run: {said[-1]}") from error
    return StandIns(folder)


def _take_place(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():  # which it is where another process was faster
            raise


def _make(plugins: Path, folder: Path) -> None:
    libraries, tools = folder / "lib64", folder / "bin"
    libraries.mkdir(parents=True)
    tools.mkdir()
    (tools / "nvcc").write_text(NVCC)
    (tools / "nvcc").chmod(0o755)
    written, others = folder / "cuda.o", folder / "others.s"
    _run("gcc", "-c", "-fPIC", "-O1", str(SOURCE), "-o", str(written))
    kernels = symbols(plugins / "gpu" / KERNELS, "-D", "--defined-only")
    imported = symbols(plugins / PLUGIN, "-D", "--undefined-only")
    wanted = {name for name in imported if name in kernels or is_of_cuda(name)}
    others.write_text(returning_zero(sorted(wanted - symbols(written, "--defined-only"))))
    library = libraries / KERNELS
    _run("gcc", "-shared", f"-Wl,-soname,{KERNELS}", "-o", str(library), str(written), str(others))
    written.unlink()
    others.unlink()
    for name in LIBRARIES:
        (libraries / name).symlink_to(KERNELS)


def is_of_cuda(name: str) -> bool:
    """Whether a function's name is one of CUDA's libraries."""
    return name.startswith(PREFIXES) or name.startswith("cu") and name[2:3].isupper()


def symbols(file: Path, *options: str) -> set[str]:
    """Names in the table of a library or an object file, without versions."""
    return {line.split()[-1].partition("@")[0] for line in _run("nm", *options, str(file)).splitlines()}


def returning_zero(names: Iterable[str]) -> str:
    """Functions that return 0, in assembler: C++'s names of MindSpore's kernels are no names in C."""
    lines = [f".globl {name}\n.type {name},@function\n{name}:" for name in names]
    return "\n".join([".text", *lines, "xorl %eax,%eax", "ret", '.section .note.GNU-stack,"",@progbits', ""])


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS).stdout
