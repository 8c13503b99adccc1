"""Boxes as lines of aligned text."""

from collections.abc import Sequence
from pathlib import Path

from .coco_results import FoundInFile
from .table import FILE, LABEL, FileTable

NOTHING = "nothing found"


class BoxTable(FileTable):
    """A row for each box: file, label, score, x0, y0, x1, y1 in pixels of the file; see `FileTable`."""

    def __init__(self, files: Sequence[Path], labels: Sequence[str], columns: int | None = None) -> None:
        numbers = {FILE: 0, LABEL: 0, "score": 6, "x0": 6, "y0": 6, "x1": 6, "y1": 6}
        super().__init__(files, (*labels, NOTHING), numbers, columns)
        self._labels = labels

    def rows(self, image: FoundInFile) -> list[str]:
        """The file is named in the first; there is one also where nothing was found."""
        boxes, labels, scores = image.found[:3]
        if not len(boxes):
            return [self._row(str(image.file), NOTHING, *[""] * 5).rstrip()]
        return [
            self._row(
                "" if row else str(image.file),
                self._labels[labels[row]],
                f"{scores[row]:.4f}",
                *(f"{side + 0.0:.1f}" for side in boxes[row]),
            )
            for row in range(len(boxes))
        ]
