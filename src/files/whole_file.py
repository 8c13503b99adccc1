"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import UserError, writing_error


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A new file beside `path`, open for writing, that takes its place at the end, once it is on the disk.

    A link stays one: what it leads to is replaced. The new file has a name of its own that begins with a dot; it is
    removed where the block is left by an exception.

    Raises:
        OSError: it cannot be written; an older file at `path` is intact.
        UserError: as `target_of` does.
    """
    target = target_of(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
        _sync_folder(target.parent)
    finally:
        with suppress(OSError):
            beside.unlink()


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Writes `content`, text as UTF-8, as a `whole_file`.

    Raises:
        UserError: the file cannot be written; an older one at `path` is intact.
    """
    try:
        with whole_file(path) as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
    except OSError as error:
        raise writing_error(f"cannot write {path}: {error.strerror}", error) from error


def make_folder(path: str | Path) -> None:
    """Makes a folder and those above it, where they are missing.

    Raises:
        UserError: it cannot be made.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise writing_error(f"cannot make the folder {path}: {error.strerror}", error) from error


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


def _sync_folder(folder: Path) -> None:
    """Makes names given in `folder` outlive a power failure, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
