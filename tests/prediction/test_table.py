"""Rows are aligned and fit the terminal."""

from pathlib import Path

import pytest

from src.prediction.predictions import Prediction
from src.prediction.table import PredictionTable

FILES = [Path("short.png"), Path("a/long/way/to/the/folder/of/images/that/matters/picture.png")]
LABELS = ["cat", "a label of more than one word, as in ImageNet, its synonyms included"]


def lines(columns):
    table = PredictionTable(FILES, LABELS, columns)
    top = [(LABELS[1], 0.75), (LABELS[0], 0.25)]
    return [table.header(), *(row for file in FILES for row in table.rows(Prediction(file, top)))]


def test_whole_names_without_a_limit():
    header, first, second, third, _ = lines(None)
    assert header.split() == ["file", "rank", "label", "probability"]
    assert first.split() == ["short.png", "1", *LABELS[1].split(), "0.7500"]
    assert second.split() == ["2", "cat", "0.2500"]
    assert third.startswith(str(FILES[1]))
    assert first.index(LABELS[1]) == second.index("cat") == header.index("label")


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_fits(columns):
    rows = lines(columns)
    assert len({len(row) for row in rows}) == 1 and len(rows[0]) <= columns
    assert ("picture.png" in rows[3]) and rows[1].startswith("short.png ")
    assert rows[2].split() == ["2", "cat", "0.2500"]


def test_wide_and_unprintable_characters():
    table = PredictionTable([Path("x\ny\udcff.png")], ["狗", "d\x1bg"])
    row_1, row_2 = table.rows(Prediction(Path("x\ny\udcff.png"), [("狗", 0.5), ("d\x1bg", 0.5)]))
    assert row_1.split() == ["x?y?.png", "1", "狗", "0.5000"] and row_2.split() == ["2", "d?g", "0.5000"]
    assert len(row_1) == len(row_2) - 1  # the character takes two columns
