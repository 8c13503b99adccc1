"""Progress bars of a process that has no terminal, shown by the one that started it.

The first process keeps its bars in a file; the other looks at the file and draws them on its own terminal.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "TNT_PROGRESS_FILE"
"""Environment variable with the file's path."""

INTERVAL = 0.2
"""Seconds between two writes, at least."""


@dataclass
class BarState:
    """State of one bar, as tqdm means it.

    Attributes:
        desc: what is being done.
        total, initial: images in all, and done before.
        n: images done.
        note: shown behind the bar.
    """

    desc: str
    total: int
    initial: int
    n: int
    note: str = ""

    def continues(self, other: "BarState") -> bool:
        """Whether this is a later state of the same bar."""
        return (self.desc, self.total, self.initial) == (other.desc, other.total, other.initial) and self.n >= other.n


class ProgressFile:
    """The bars of this process, the outer ones first.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path):
        self._path, self._bars, self._written = path, [], 0.0

    @staticmethod
    def of(environment: Mapping[str, str]) -> "ProgressFile | None":
        """The file that whoever started this process wants, if any."""
        path = environment.get(VARIABLE)
        return None if path is None else ProgressFile(Path(path))

    def open(self, bar: BarState) -> None:
        self._bars.append(bar)
        self.write()

    def close(self, bar: BarState) -> None:
        self._bars.remove(bar)
        self.write()

    def write(self, at_once: bool = True) -> None:
        """Keeps what is open; without `at_once` only if the last time is a while ago."""
        if not at_once and time.monotonic() - self._written < INTERVAL:
            return
        self._written = time.monotonic()
        beside = self._path.with_name(f"{self._path.name}.tmp")
        with suppress(OSError):  # a bar that stands still is no reason to end a run
            beside.write_text(json.dumps([asdict(bar) for bar in self._bars], allow_nan=False))
            beside.replace(self._path)


def read_progress(path: Path) -> list[BarState]:
    """What the other process has open; empty where it has written nothing."""
    with suppress(OSError, ValueError, TypeError):
        return [BarState(**bar) for bar in json.loads(path.read_text())]
    return []
