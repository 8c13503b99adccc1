"""A table for terminals and for Markdown."""

import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

GAP = "  "
_NUMBER = re.compile(r"[-–+]?[\d,.]*%?")


@dataclass(frozen=True)
class Table:
    """Cells as text; columns of numbers are aligned at the right, the others at the left.

    Attributes:
        title: what stands above.
        header: headings, of which the first is that of the rows' names.
        rows: cells, as many as headings.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self, columns: int | None = None) -> str:
        """Lines of aligned cells.

        Args:
            columns: width of the terminal; columns that do not fit follow in a further block, which repeats the first.
                None for no limit.
        """
        blocks = [[0]]
        for column in range(1, len(self.header)):
            width = sum(self._width(shown) + len(GAP) for shown in blocks[-1]) + self._width(column)
            if columns is not None and width > columns and len(blocks[-1]) > 1:
                blocks.append([0])
            blocks[-1].append(column)
        title = self.title if columns is None else textwrap.fill(self.title, columns)
        return title + "\n" + "\n\n".join(self._block(block) for block in blocks)

    def markdown(self) -> str:
        """A table of GitHub's Markdown under its title; a row's name with an underscore is set as code."""
        rule = ["---:" if self._is_number(column) else "---" for column in range(len(self.header))]
        rows = [[f"`{name}`" if "_" in name else name, *cells] for name, *cells in self.rows]
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.header, *rows)]
        lines.insert(1, "|" + "|".join(rule) + "|")
        return "\n".join([self.title, "", *lines])

    def _block(self, columns: Sequence[int]) -> str:
        headings = [textwrap.wrap(self.header[column], self._width(column)) for column in columns]
        height = max(len(lines) for lines in headings)
        headings = [[""] * (height - len(lines)) + lines for lines in headings]
        rows = [*zip(*headings, strict=True), *([row[column] for column in columns] for row in self.rows)]
        return "\n".join(GAP.join(map(self._align, columns, row)).rstrip() for row in rows)

    def _align(self, column: int, cell: str) -> str:
        return cell.rjust(self._width(column)) if self._is_number(column) else cell.ljust(self._width(column))

    def _is_number(self, column: int) -> bool:
        return all(_NUMBER.fullmatch(row[column]) for row in self.rows)

    def _width(self, column: int) -> int:
        """Width of the widest cell, or of the widest word of the heading, which may break at spaces and hyphens."""
        words = re.findall(r"[^\s-]+-?", self.header[column])
        return max(len(text) for text in (*words, *(row[column] for row in self.rows)))


def terminal_width() -> int | None:
    """Columns of the terminal that is printed to; None where it is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
