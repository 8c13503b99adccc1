"""JSON files that appear whole or not at all."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from src.errors import UserError


def to_json(content: Any) -> str:
    """Indented JSON with a final newline. What UTF-8 cannot hold (odd bytes of file names) is escaped."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate becomes \udcXX, which JSON reads back


def write_json(path: str | Path, content: Any) -> None:
    """Writes `content` beside `path` and renames it.

    Raises:
        UserError: the file cannot be written; an older one at `path` is intact.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(to_json(content), encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            beside.unlink()
