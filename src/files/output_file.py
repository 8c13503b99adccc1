"""Files and folders that a command is asked to write."""

import os
from pathlib import Path

from ..errors import UserError, shown
from .whole_file import target_of

LONGEST_NAME = 220  # bytes; 255 can be, and what stands beside a file while it is written has a longer name


def check_output_file(path: str | Path, ending: str = "") -> None:
    """Refuses, before the work is done, a file that could not be written.

    Raises:
        UserError: another ending than `ending`, a name too long, what is no file, or in no folder that can be written.
    """
    path = Path(path)
    check_name(path)
    if not path.name.endswith(ending):
        raise UserError(f"{path}: expected a name that ends in {ending}")
    folder = target_of(path).parent
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise UserError(f"cannot write {path}: {folder} is not a folder that can be written")


def check_output_folder(path: str | Path, action: str = "write into") -> None:
    """Refuses, before the work is done, a folder that files could not be written into. It need not be there.

    Args:
        path: of the folder.
        action: for messages.

    Raises:
        UserError: there is a file, or nothing can be written.
    """
    path = Path(path)
    above = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"cannot {action} {path}: {above} is not a folder that can be written")


def check_name(path: Path) -> None:
    """Refuses a file whose name is too long to be written safely.

    Raises:
        UserError: it is.
    """
    size = len(os.fsencode(path.name))
    if size > LONGEST_NAME:
        raise UserError(f"expected a name of at most {LONGEST_NAME} bytes, got {size}: {shown(path.name)}")
