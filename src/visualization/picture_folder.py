"""The folder that a command's pictures go to."""

import io
import os
from pathlib import Path

from matplotlib.figure import Figure

from ..errors import UserError
from ..files.whole_file import write_whole


class PictureFolder:
    """Pictures by name, '1_digit_0/attention.png', each written whole or not at all.

    Attributes:
        path: of the folder.
        count: files written so far.

    Args:
        path: made with the first picture.

    Raises:
        UserError: no folder can be there, or nothing be written into it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.count = 0
        above = next(folder for folder in (self.path.absolute(), *self.path.absolute().parents) if folder.exists())
        if not above.is_dir() or not os.access(above, os.W_OK):
            raise UserError(f"cannot write pictures to {self.path}: {above} is not a folder that can be written")

    def draw(self, name: str, figure: Figure) -> None:
        """Writes a figure as PNG.

        Raises:
            UserError: it cannot be written.
        """
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=figure.dpi)
        self.write(name, file.getvalue())

    def write(self, name: str, content: str | bytes) -> None:
        """Writes a file, text as UTF-8.

        Raises:
            UserError: it cannot be written.
        """
        path = self.path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder {path.parent}: {error.strerror}") from error
        write_whole(path, content)
        self.count += 1
