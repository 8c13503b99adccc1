"""Files of pictures."""

import io
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from src.errors import UserError
from src.visualization.picture_folder import PictureFolder


def test_pictures_and_pages():
    folder = PictureFolder("new/folder")
    assert not Path("new").exists()  # nothing is made before there is something to write
    folder.draw("1_a/b.png", Figure(figsize=(2, 1), dpi=50))
    folder.write("page.html", "ä")
    assert folder.count == 2
    assert Image.open(io.BytesIO(Path("new/folder/1_a/b.png").read_bytes())).size == (100, 50)
    assert Path("new/folder/page.html").read_text(encoding="utf-8") == "ä"
    assert sorted(path.name for path in Path("new/folder").iterdir()) == ["1_a", "page.html"]


def test_refused_before_the_work():
    Path("file").write_text("")
    with pytest.raises(UserError, match="cannot write pictures to file/pictures: .*file is not a folder"):
        PictureFolder("file/pictures")


def test_a_file_in_the_way():
    folder = PictureFolder("pictures")
    folder.write("a", "")
    with pytest.raises(UserError, match="cannot make the folder pictures/a"):
        folder.write("a/b.png", b"")
