"""Files appear whole or not at all."""

import os
from pathlib import Path

import pytest

from src.errors import UserError
from src.files.whole_file import write_whole


@pytest.mark.parametrize("content,stored", [("狗\n", "狗\n".encode()), (b"\x00\r\n", b"\x00\r\n")])
def test_content(tmp_path, content, stored):
    write_whole("a", "older and longer")
    write_whole("a", content)
    assert Path("a").read_bytes() == stored
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("path", ["missing/a", "file/a", "folder"])
def test_unwritable(path):
    Path("file").write_text("")
    Path("folder").mkdir()
    with pytest.raises(UserError, match=f"cannot write {path}: "):
        write_whole(path, "a")
    assert sorted(path.name for path in Path().iterdir()) == ["file", "folder"]


def test_links_are_written_through():
    Path("folder").mkdir()
    Path("folder/old").write_text("old")
    Path("link").symlink_to("folder/old")
    Path("chain").symlink_to("link")
    Path("ahead").symlink_to("folder/new")
    write_whole("chain", "1")
    assert Path("folder/old").read_text() == "1" and Path("chain").is_symlink() and Path("link").is_symlink()
    write_whole("ahead", "2")
    assert Path("folder/new").read_text() == "2" and Path("ahead").is_symlink()
    assert sorted(path.name for path in Path("folder").iterdir()) == ["new", "old"]


def test_what_is_no_file_is_not_replaced():
    os.mkfifo("pipe")
    Path("to_pipe").symlink_to("pipe")
    Path("loop").symlink_to("loop")
    Path("nowhere").symlink_to("missing/a")
    for path, reason in [
        ("pipe", "pipe is a pipe, socket or device; give the name of a file"),
        ("to_pipe", "to_pipe is a pipe, socket or device"),
        ("loop", "its link leads in a circle; give another name"),
        ("nowhere", "No such file or directory"),
    ]:
        with pytest.raises(UserError, match=f"^cannot write {path}: {reason}"):
            write_whole(path, "a")
    assert Path("pipe").is_fifo() and Path("loop").is_symlink()
    assert sorted(path.name for path in Path().iterdir()) == ["loop", "nowhere", "pipe", "to_pipe"]
