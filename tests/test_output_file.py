"""Files that could not be written are refused before the work is done."""

from pathlib import Path

import pytest

from src.errors import UserError
from src.output_file import check_output_file


@pytest.mark.parametrize("path", ["missing/a.json", "file/a.json", "folder"])
def test_unwritable(path):
    Path("file").write_text("")
    Path("folder").mkdir()
    with pytest.raises(UserError, match=f"cannot write {path}: "):
        check_output_file(path)
    check_output_file("folder/a.json")
    assert list(Path("folder").iterdir()) == []


def test_ending():
    check_output_file("a.ckpt", ".ckpt")
    with pytest.raises(UserError, match="a.txt: expected a name that ends in .ckpt"):
        check_output_file("a.txt", ".ckpt")
