"""The folder that a command's pictures go to."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from ..files.output_file import check_output_folder
from ..files.whole_file import make_folder, write_whole


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
        check_output_folder(self.path, "write pictures to")

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
        make_folder(path.parent)
        write_whole(path, content)
        self.count += 1
