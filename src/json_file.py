"""JSON files that appear whole or not at all."""

import json
from pathlib import Path
from typing import Any

from src.whole_file import write_whole


def to_json(content: Any) -> str:
    """Indented JSON with a final newline. What UTF-8 cannot hold (odd bytes of file names) is escaped."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate becomes \udcXX, which JSON reads back


def write_json(path: str | Path, content: Any) -> None:
    """Writes `content` beside `path` and renames it.

    Raises:
        UserError: the file cannot be written; an older one at `path` is intact.
    """
    write_whole(path, to_json(content))
