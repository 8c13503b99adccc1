"""Text files that are lists, an entry a line."""

from pathlib import Path

from ..errors import UserError


def read_lines(path: Path, content: str) -> list[str]:
    """The lines of a UTF-8 file, with or without a byte-order mark.

    Args:
        path: the file.
        content: what a line should hold, for messages: 'one class name a line'.

    Raises:
        UserError: it cannot be read, is empty, or has an empty line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"{path}: expected a text file with {content}: {reason}") from error
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise UserError(f"{path}: expected a text file with {content}: the file is empty")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise UserError(f"{path}: expected a text file with {content}: line {number} is empty")
    return lines
