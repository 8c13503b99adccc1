"""JSON files hold what was given, and appear whole or not at all."""

import json
import os
from pathlib import Path

import pytest

from src.errors import UserError
from src.json_file import write_json


def test_content_comes_back_and_is_readable(tmp_path):
    content = {"label": "狗", "file": os.fsdecode(b"odd\xff.png"), "values": [1, 0.5, None]}
    write_json("a.json", content)
    text = Path("a.json").read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert "狗" in text and text.endswith("}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_failure_leaves_the_old_file(tmp_path):
    write_json("a.json", 1)
    with pytest.raises(TypeError):
        write_json("a.json", {1, 2})
    assert Path("a.json").read_text() == "1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("path", ["missing/a.json", "file/a.json", "folder"])
def test_unwritable(path):
    Path("file").write_text("")
    Path("folder").mkdir()
    with pytest.raises(UserError, match=f"cannot write {path}: "):
        write_json(path, 1)
    assert sorted(path.name for path in Path().iterdir()) == ["file", "folder"]
