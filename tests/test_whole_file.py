"""Files appear whole or not at all."""

from pathlib import Path

import pytest

from src.errors import UserError
from src.whole_file import write_whole


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
