"""Tables are aligned, and fit the terminal."""

import pytest

from src.terminal.text_table import Table

TABLE = Table(
    "Numbers of things",
    ["Name", "large number", "word-to-sentence", "remark"],
    [["a_b", "1,234,567", "1.0", "first"], ["abc", "–", "–22.5", "the last one"]],
)


def test_text():
    assert TABLE.text().split("\n") == [
        "Numbers of things",
        "          large  word-to-",
        "Name     number  sentence  remark",
        "a_b   1,234,567       1.0  first",
        "abc           –     –22.5  the last one",
    ]


def test_columns_that_do_not_fit_follow():
    assert TABLE.text(27).split("\n") == [
        "Numbers of things",
        "          large  word-to-",
        "Name     number  sentence",
        "a_b   1,234,567       1.0",
        "abc           –     –22.5",
        "",
        "Name  remark",
        "a_b   first",
        "abc   the last one",
    ]


@pytest.mark.parametrize("columns", [18, 20, 24, 25, 30, 45, 46])
def test_fits(columns):
    assert max(map(len, TABLE.text(columns).split("\n"))) <= columns


def test_markdown():
    assert TABLE.markdown().split("\n") == [
        "Numbers of things",
        "",
        "| Name | large number | word-to-sentence | remark |",
        "|---|---:|---:|---|",
        "| `a_b` | 1,234,567 | 1.0 | first |",
        "| abc | – | –22.5 | the last one |",
    ]
