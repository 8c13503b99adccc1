"""Predictions as lines of aligned text: file, rank, label, probability."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from ..printable import printable
from .predictions import Prediction

GAP = "  "
RANK, PROBABILITY = "rank", "probability"
NARROWEST = 8


class PredictionTable:
    """Formats rows one by one, so that they can be printed as they come.

    Args:
        files: all files that may appear.
        labels: all labels that may appear.
        columns: width of the terminal, to which long names of files (at their start) and labels (at their end) are
            shortened; None for no limit.
    """

    def __init__(self, files: Sequence[Path], labels: Sequence[str], columns: int | None = None) -> None:
        self._file = max(_width(printable(text)) for text in ("file", *map(str, files)))
        self._label = max(_width(printable(text)) for text in ("label", *labels))
        if columns is not None:
            free = max(columns - len(RANK) - len(PROBABILITY) - 3 * len(GAP), 2 * NARROWEST)
            self._label = min(self._label, max(free // 2, free - self._file))
            self._file = min(self._file, free - self._label)

    def header(self) -> str:
        return self._row("file", RANK, "label", PROBABILITY)

    def rows(self, prediction: Prediction) -> list[str]:
        """A row for each label; the file is named in the first."""
        return [
            self._row("" if rank > 1 else str(prediction.file), str(rank), label, f"{probability:.4f}")
            for rank, (label, probability) in enumerate(prediction.top, start=1)
        ]

    def _row(self, file: str, rank: str, label: str, probability: str) -> str:
        file = _fit(printable(file)[::-1], self._file)[::-1]
        label = _fit(printable(label), self._label)
        return GAP.join(
            (
                file + " " * (self._file - _width(file)),
                rank.rjust(len(RANK)),
                label + " " * (self._label - _width(label)),
                probability.rjust(len(PROBABILITY)),
            )
        )


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
