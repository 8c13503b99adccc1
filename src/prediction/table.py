"""Predictions as lines of aligned text."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import printable
from .predictions import Prediction

GAP = "  "
NARROWEST = 8
FILE, LABEL = "file", "label"


class FileTable:
    """Formats rows one by one, so that they can be printed as they come.

    Args:
        files: all files that may appear.
        labels: all labels that may appear.
        numbers: the headings in their order, among them `FILE` and `LABEL`, which have widths of their own; of each
            other one the width of its numbers.
        columns: width of the terminal, to which long names of files (at their start) and labels (at their end) are
            shortened; None for no limit.
    """

    def __init__(
        self, files: Sequence[Path], labels: Sequence[str], numbers: Mapping[str, int], columns: int | None
    ) -> None:
        file = max(_width(printable(text)) for text in (FILE, *map(str, files)))
        label = max(_width(printable(text)) for text in (LABEL, *labels))
        if columns is not None:
            others = sum(width for heading, width in numbers.items() if heading not in (FILE, LABEL))
            free = max(columns - others - (len(numbers) - 1) * len(GAP), 2 * NARROWEST)
            label = min(label, max(free // 2, free - file))
            file = min(file, free - label)
        self._widths = {**numbers, FILE: file, LABEL: label}

    def header(self) -> str:
        return self._row(*self._widths)

    def _row(self, *cells: str) -> str:
        return GAP.join(
            self._cell(heading, cell, width) for (heading, width), cell in zip(self._widths.items(), cells, strict=True)
        )

    def _cell(self, heading: str, cell: str, width: int) -> str:
        if heading not in (FILE, LABEL):
            return cell.rjust(width)
        text = printable(cell)
        text = _fit(text[::-1], width)[::-1] if heading == FILE else _fit(text, width)
        return text + " " * (width - _width(text))


class PredictionTable(FileTable):
    """A row for each label: file, rank, label, probability; see `FileTable`."""

    def __init__(self, files: Sequence[Path], labels: Sequence[str], columns: int | None = None) -> None:
        super().__init__(files, labels, {FILE: 0, "rank": 4, LABEL: 0, "probability": 11}, columns)

    def rows(self, prediction: Prediction) -> list[str]:
        """The file is named in the first."""
        return [
            self._row("" if rank > 1 else str(prediction.file), str(rank), label, f"{probability:.4f}")
            for rank, (label, probability) in enumerate(prediction.top, start=1)
        ]


def _fit(text: str, width: int) -> str:
    """`text`, cut at its end where it is wider."""
    if _width(text) <= width:
        return text
    while _width(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _width(text: str) -> int:
    """Columns of a terminal; Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
