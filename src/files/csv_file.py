"""CSV files that appear whole or not at all."""

import csv
import io
from pathlib import Path
from typing import Any

from .whole_file import write_whole

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_line(*cells: Any) -> str:
    """A line and its end."""
    text = io.StringIO()
    csv.writer(text).writerow(cells)  # whose own line end makes it quote both characters of it in cells
    return text.getvalue().removesuffix("\r\n") + "\n"


def csv_text(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: with an apostrophe before it (OWASP, "CSV injection")."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def write_csv(path: str | Path, text: str) -> None:
    """Raises: UserError, as `write_whole` does."""
    write_whole(path, text.encode("utf-8", "backslashreplace"))  # odd bytes of file names
