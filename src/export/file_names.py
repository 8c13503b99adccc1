"""How exported files and their descriptions are called."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError, nearest

ENDINGS = {"MINDIR": ".mindir", "AIR": ".air", "ONNX": ".onnx"}


def ending_of(file_format: str) -> str:
    """How the names of files of this format end.

    Raises:
        UserError: no such format; the nearest is named.
    """
    if file_format not in ENDINGS:
        raise UserError(f"unknown file format {file_format!r}; {nearest(file_format.upper(), ENDINGS)}")
    return ENDINGS[file_format]


def sidecar_of(path: Path) -> Path:
    """The name of a file's description."""
    return Path(f"{path}.json")


def stem_of(name: str | None, file_formats: Sequence[str], default: Path) -> Path:
    """The path of files without size and ending.

    Args:
        name: as the user gives it, with or without an ending; `default` when None.
        file_formats: of the files.
        default: where they go otherwise.

    Raises:
        UserError: an ending that is not that of the formats.
    """
    path = Path(name or default)
    if name is None or path.suffix not in ENDINGS.values():
        return path
    endings = [ending_of(file_format) for file_format in file_formats]
    if endings != [path.suffix]:
        raise UserError(
            f"{path}: the name of {' and '.join(file_formats)} files must end in {' and '.join(endings)}; leave "
            "the ending out, it is added"
        )
    return path.with_suffix("")


def output_of(stem: Path, file_format: str, side: int | None = None, marks: str = "") -> Path:
    """The path of one file.

    Args:
        stem: see `stem_of`.
        file_format: of the file.
        side: of its images in pixels, where the name tells it.
        marks: of its form, where the name tells them, `Form.marks`.
    """
    size = "" if side is None else f"_{side}"
    return stem.with_name(f"{stem.name}{size}{marks}{ending_of(file_format)}")
