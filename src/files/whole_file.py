"""Files that appear whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from ..errors import UserError, writing_error


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Writes `content`, text as UTF-8, beside `path`, waits until it is on the disk, and renames it.

    A link stays one: what it leads to is written.

    Raises:
        UserError: the file cannot be written; an older one at `path` is intact.
    """
    target = target_of(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except OSError as error:
        raise writing_error(f"cannot write {path}: {error.strerror}", error) from error
    finally:
        with suppress(OSError):
            beside.unlink()


def target_of(path: str | Path) -> Path:
    """The file that writing to `path` makes or replaces: itself, or where its link leads to.

    Raises:
        UserError: a link in a circle, or what is no file and must not be replaced by one.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        kind = "folder" if os.path.isdir(path) else "pipe, socket or device"
        raise UserError(f"cannot write {path}: {path} is a {kind}; give the name of a file")
    target = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
    if os.path.islink(target):
        raise UserError(f"cannot write {path}: its link leads in a circle; give another name")
    return target
