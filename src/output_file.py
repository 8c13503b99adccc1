"""Files that a command is asked to write."""

import os
from pathlib import Path

from src.errors import UserError


def check_output_file(path: str | Path, ending: str = "") -> None:
    """Refuses, before the work is done, a file that could not be written.

    Raises:
        UserError: another ending than `ending`, a folder, or in no folder that can be written.
    """
    path = Path(path)
    if not path.name.endswith(ending):
        raise UserError(f"{path}: expected a name that ends in {ending}")
    if path.is_dir():
        raise UserError(f"cannot write {path}: {path} is a folder; give the name of a file")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UserError(f"cannot write {path}: {path.parent} is not a folder that can be written")
