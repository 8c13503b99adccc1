"""What predict.py needs of whatever it predicts with."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from .drawing import Drawings
from .predictions import Skipped


class Table(Protocol):
    """Lines of aligned text, formatted one by one."""

    def header(self) -> str: ...

    def rows(self, result: Any) -> list[str]:
        """At least one, the first with the file's name."""
        ...


class Predictor(Protocol):
    """A network with what the user wants of it; its results are of one kind, each with its `file`.

    Attributes:
        changes: in what it is not as its file says, as lines for the user.
    """

    changes: Sequence[str]

    def table(self, files: Sequence[Path], columns: int | None) -> Table:
        """Rows for results of `files` on a terminal of so many columns; None for no limit."""
        ...

    def predict(self, files: Sequence[Path], workers: int) -> Iterator[Any | Skipped]:
        """A result for each of `files`, read by `workers` threads.

        Raises:
            UserError: at once, where these files or their batches cannot be; while iterating, outputs that are not
                finite.
        """
        ...

    def draw(self, drawings: Drawings, result: Any) -> None:
        """Writes the copy of an image.

        Raises:
            UserError: it cannot be written, or the image not be read again.
        """
        ...

    def write(self, results: Sequence[Any], skipped: Sequence[Skipped]) -> None:
        """Writes the files that the user wants.

        Raises:
            UserError: a file cannot be written; an older one of its name is intact.
        """
        ...
