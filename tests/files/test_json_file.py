"""JSON files hold what was given, and appear whole or not at all."""

import json
import os
from pathlib import Path

import pytest

from src.errors import UserError
from src.files.json_file import from_json, write_json


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


@pytest.mark.parametrize(
    "text,reason",
    [
        ("", "Expecting value"),
        ("NaN", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("1e999", "the number '1e999' is too large or too small"),
        ("-1e-999", "the number '-1e-999' is too large or too small"),
        ("1" * 5000, "5000 digits"),
        ('{"a": {"b": 1, "c": 2, "b": 1}}', "'b' comes twice"),
        ("[" * 100_000, "it is nested too deeply"),
    ],
)
def test_what_is_no_json_or_would_be_another_value(text, reason):
    with pytest.raises(ValueError, match=reason) as found:
        from_json(text)
    assert "\n" not in str(found.value)


def test_json_is_read():
    text = '{"a": [1, -0.0, 0e5, 1.5e3, 5e-324, null, true, "\\udcff"], "b": {}}'
    values = from_json(text)
    assert values == json.loads(text) and str(values["a"][1]) == "-0.0"
