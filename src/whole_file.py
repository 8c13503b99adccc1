"""Files that appear whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from src.errors import writing_error


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Writes `content`, text as UTF-8, beside `path`, waits until it is on the disk, and renames it.

    Raises:
        UserError: the file cannot be written; an older one at `path` is intact.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise writing_error(f"cannot write {path}: {error.strerror}", error) from error
    finally:
        with suppress(OSError):
            beside.unlink()
