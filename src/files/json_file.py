"""JSON, which has no NaN and no infinity, and JSON files that appear whole or not at all."""

import json
import math
import re
from pathlib import Path
from typing import Any

from ..errors import shown
from .whole_file import write_whole


def to_json(content: Any) -> str:
    """Indented JSON with a final newline. What UTF-8 cannot hold (odd bytes of file names) is escaped."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate becomes \udcXX, which JSON reads back


def to_json_line(content: Any) -> str:
    """JSON on one line, with its newline."""
    return json.dumps(content, allow_nan=False) + "\n"


def from_json(text: str) -> Any:
    """Reads JSON.

    Raises:
        ValueError: it is none (NaN and Infinity, which Python's reader takes, are none), a name comes twice in an
            object, a number cannot be kept as it is, or it is nested too deeply. One line.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_number, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _number(text: str) -> float:
    number = float(text)
    is_zero = not re.split("[eE]", text)[0].strip("-0.")
    if not math.isfinite(number) or (number == 0 and not is_zero):
        raise ValueError(f"the number {shown(text)} is too large or too small")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f"{shown(name)} comes twice")
        values[name] = value
    return values


def write_json(path: str | Path, content: Any) -> None:
    """Writes `content` beside `path` and renames it.

    Raises:
        UserError: the file cannot be written; an older one at `path` is intact.
    """
    write_whole(path, to_json(content))
