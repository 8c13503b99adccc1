"""Files that could not be written are refused before the work is done."""

import os
from pathlib import Path

import pytest

from src.errors import UserError
from src.files.output_file import check_output_file


@pytest.mark.parametrize("path", ["missing/a.json", "file/a.json", "folder", "pipe", "loop", "nowhere", "/dev/null"])
def test_unwritable(path):
    Path("file").write_text("")
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Path("nowhere").symlink_to("missing/a")
    with pytest.raises(UserError, match=f"cannot write {path}: "):
        check_output_file(path)
    check_output_file("folder/a.json")
    Path("link").symlink_to("folder/b.json")
    check_output_file("link")
    assert list(Path("folder").iterdir()) == []


def test_ending():
    check_output_file("a.ckpt", ".ckpt")
    with pytest.raises(UserError, match="a.txt: expected a name that ends in .ckpt"):
        check_output_file("a.txt", ".ckpt")


def test_names_too_long_to_be_written_whole():
    check_output_file("x" * 220)
    for name in ("x" * 221, "x" * 5000, "\n" * 300):
        with pytest.raises(UserError, match=r"^expected a name of at most 220 bytes, got \d+: '") as error:
            check_output_file(name)
        assert str(error.value).isprintable() and len(str(error.value)) < 200
