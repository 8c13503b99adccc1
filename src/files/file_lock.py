"""A lock between processes that ends with the process that holds it, however that ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import TemporaryError, writing_error


@contextmanager
def file_lock(path: Path, holder: str) -> Iterator[None]:
    """Holds `path`, whose folder is made where it is missing. (On network file systems without locks it keeps nobody
    out.)

    Args:
        path: a file for the lock alone.
        holder: who has it where it is taken, for the message: "another process is training into runs/tiny".

    Raises:
        TemporaryError: it is taken.
        UserError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise writing_error(f"cannot write the run's folder {path.parent}: {error}", error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TemporaryError(f"{holder}; wait for it, or choose another --output") from None
        except OSError:
            pass
        yield


def stamp(path: Path) -> tuple[int, int] | None:
    """Changes whenever `path` is written anew; None where there is no such file."""
    with suppress(OSError):
        status = os.stat(path)
        return status.st_ino, status.st_mtime_ns
    return None
