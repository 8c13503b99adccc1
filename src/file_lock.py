"""A lock between processes that ends with the process that holds it, however that ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.errors import TemporaryError, writing_error


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
