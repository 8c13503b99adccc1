"""A compiled graph that a second start reads instead of compiling it anew, made safe.

MindSpore 2.10 finds a cached graph by the number of the compilation in its process, in the folder that the first one
named, and checks little else: another network, or the same ones in another order, gets a graph that is not its own, and
crashes or computes something else. Here one graph of a process is cached, the one that takes longest, in a folder with
a seal: a key of everything that the graph follows from, and the checksums of the files. The seal is taken away while
the folder is in use, so that after a process that was killed or crashed in there the next one finds no seal and
compiles.
"""

import hashlib
import json
import platform
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import mindspore as ms
from mindspore import Tensor, nn

from ..devices.ranks import Ranks
from ..devices.versions import source_digest
from ..errors import UserError
from ..files.file_lock import file_lock
from ..files.whole_file import write_whole
from ..layers.conv import convolves_by_kernel
from ..layers.cpu_kernels import kernel_library
from ..layers.wrapping import computes_in_64_bits

_SEAL = "seal.json"
_NO_START_SCRIPT = (OSError, SyntaxError, ImportError)
"""What MindSpore raises where it cannot read the script that Python was started with, as it does for its cache: there
is none in an interactive interpreter."""


class CompilerCache:
    """Compiles cells ahead of their first call, one of them through a cache.

    Args:
        folder: of the cache; None for no cache.
        graph: name of the graph that is cached.
        settings: what decides the graph besides the cell's parameters and inputs: everything that becomes a constant in
            it.
        ranks: this process, which has a graph of its own, and how many there are.
    """

    is_used = False
    """Whether this process has used MindSpore's cache already; it does so once."""

    def __init__(self, folder: Path | None, graph: str, settings: Mapping[str, Any], ranks: Ranks | None = None):
        self.folder, self.graph, self.settings, self.ranks = folder, graph, settings, ranks or Ranks()
        self.compiled: set[str] = set()

    def compile(self, name: str, cell: nn.Cell, *inputs: Tensor) -> str | None:
        """Compiles `cell` for `inputs`, once; its calls with inputs of these shapes find it compiled.

        Args:
            name: of the graph, such as 'training_step'.
            cell: in the mode it will be called in.
            inputs: their values do not matter.

        Returns:
            A line for the log, when it was compiled now.
        """
        if name in self.compiled:
            return None
        self.compiled.add(name)
        since = time.perf_counter()
        hit = self._compile(name, cell, inputs)
        how = "read from the compiler cache" if hit else "compiled"
        return f"graph {name} {how} in {time.perf_counter() - since:.1f} s"

    def _compile(self, name: str, cell: nn.Cell, inputs: tuple[Tensor, ...]) -> bool:
        """Whether it came from the cache."""
        if self.folder is None or name != self.graph or CompilerCache.is_used:
            cell.compile(*inputs)
            return False
        path = self.folder / f"{name}_rank_{self.ranks.rank}"
        try:
            with file_lock(path.with_suffix(".lock"), f"another process uses {path}"):
                return self._compile_in(path, self._key(cell, inputs), cell, inputs)
        except (UserError, *_NO_START_SCRIPT):  # it is taken, or cannot be written
            cell.compile(*inputs)
            return False

    def _compile_in(self, path: Path, key: str, cell: nn.Cell, inputs: tuple[Tensor, ...]) -> bool:
        seal, files = _take_seal(path), _checksums(path)
        if seal != {"key": key, "files": files}:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True, exist_ok=True)
        CompilerCache.is_used = True
        ms.set_context(enable_compile_cache=True, compile_cache_path=str(path))
        try:
            cell.compile(*inputs)
        finally:
            ms.set_context(enable_compile_cache=False)
        before, files = files, _checksums(path)
        write_whole(path / _SEAL, json.dumps({"key": key, "files": files}, indent=2, allow_nan=False) + "\n")
        return bool(before) and files == before

    def _key(self, cell: nn.Cell, inputs: tuple[Tensor, ...]) -> str:
        parameters = [(p.name, p.shape, str(p.dtype), p.requires_grad) for p in cell.get_parameters()]
        parts = (
            {"mindspore": ms.__version__, "python": platform.python_version(), "sources": source_digest()},
            {"device": ms.get_context("device_target"), "ranks": [self.ranks.rank, self.ranks.count]},
            [kernel_library().path, convolves_by_kernel()] if ms.get_context("device_target") == "CPU" else [],
            self.settings,
            [self.graph, cell.training, computes_in_64_bits()],
            parameters,
            [(x.shape, str(x.dtype)) for x in inputs],
        )
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _take_seal(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        seal = json.loads((path / _SEAL).read_text())
        (path / _SEAL).unlink()
        return seal
    return None


def _checksums(path: Path) -> dict[str, str]:
    """Checksums of every file but the seal."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != _SEAL)
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
