"""Progress bars with speed and time left on a terminal; nothing elsewhere, where log lines do the telling."""

import os
import sys
import tempfile
from functools import cache
from pathlib import Path

from tqdm import tqdm

from ..errors import printable
from .progress_file import BarState, ProgressFile, read_progress


@cache
def _file() -> ProgressFile | None:
    return ProgressFile.of(os.environ)


def _bar(state: BarState, hidden: bool = False) -> tqdm:
    return tqdm(
        desc=state.desc,
        total=state.total,
        initial=state.initial,
        unit=" images",
        dynamic_ncols=True,
        leave=False,
        disable=hidden,
    )


class Progress:
    """Counts images. Use as a context manager.

    Args:
        title: what is being done.
        total: images in all.
        done: images done before (a resumed run).
        shown: whether to show anything at all.
    """

    def __init__(self, title: str, total: int, done: int = 0, shown: bool = True):
        self.on_terminal = shown and sys.stderr.isatty()
        self._state = BarState(title, total, done, done)
        self._bar = _bar(self._state, hidden=not self.on_terminal)
        self._file = _file() if shown else None
        if self._file is not None:
            self._file.open(self._state)

    def advance(self, images: int, note: str = "") -> None:
        """`images` more are done; `note` is shown behind the bar."""
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(images)
        if self._file is not None:
            self._state.n += images
            self._state.note = note
            self._file.write(at_once=False)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception) -> None:
        self._bar.close()
        if self._file is not None:
            self._file.close(self._state)


class FollowedProgress:
    """Shows on this terminal the bars of another process of this host, which has `path` in its variable `VARIABLE`.

    Attributes:
        path: of the file where they are.
    """

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="progress-", ignore_cleanup_errors=True)
        self.path = Path(self._folder.name, "bars.json")
        self._shown: list[tuple[BarState, tqdm]] = []

    def look(self) -> None:
        """Draws what has changed."""
        self._show(read_progress(self.path))

    def close(self) -> None:
        """Removes the bars and the file."""
        self._show([])
        self._folder.cleanup()

    def _show(self, states: list[BarState]) -> None:
        same = 0
        while same < min(len(states), len(self._shown)) and states[same].continues(self._shown[same][0]):
            same += 1
        for _, bar in reversed(self._shown[same:]):
            bar.close()
        bars = [bar for _, bar in self._shown[:same]] + [_bar(state) for state in states[same:]]
        for state, bar in zip(states, bars, strict=True):
            if state.n != bar.n:
                bar.set_postfix_str(state.note, refresh=False)
                bar.update(state.n - bar.n)
                bar.refresh()
        self._shown = list(zip(states, bars, strict=True))


def print_line(line: str, to_stderr: bool = False) -> None:
    """Prints a line above the bars that are on the terminal; what is in it from outside cannot steer that."""
    stream = sys.stderr if to_stderr else sys.stdout
    tqdm.write(printable(line), file=stream)
    stream.flush()


def tell_line(line: str, to_stderr: bool = False) -> None:
    """`print_line` for a program that goes on when its terminal was closed, or `tee` has ended."""
    try:
        print_line(line, to_stderr)
    except OSError:
        stream = sys.stderr if to_stderr else sys.stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # also for what is still to be flushed
