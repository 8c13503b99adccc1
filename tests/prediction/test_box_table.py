"""Rows of boxes: aligned, the best first, and a line where nothing was found."""

from pathlib import Path

import numpy as np
import pytest

from src.prediction.box_table import BoxTable
from src.prediction.coco_results import Found, FoundInFile

FILES = [Path("short.png"), Path("a/long/way/to/the/folder/of/images/that/matters/picture.png")]
LABELS = ["cat", "a label of more than one word, as in ImageNet, its synonyms included"]
TWO = Found(np.array([[1, 2, 30.06, 40], [-0.0, 0, 9999.96, 5]]), np.array([1, 0]), np.array([0.75, 0.25]))
NOTHING = Found(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))


def test_rows():
    table = BoxTable(FILES, LABELS)
    first, second = table.rows(FoundInFile(FILES[0], 9, 9, TWO))
    assert table.header().split() == ["file", "label", "score", "x0", "y0", "x1", "y1"]
    assert first.split() == ["short.png", *LABELS[1].split(), "0.7500", "1.0", "2.0", "30.1", "40.0"]
    assert second.split() == ["cat", "0.2500", "0.0", "0.0", "10000.0", "5.0"]
    assert first.index(LABELS[1]) == second.index("cat") == table.header().index("label")
    [row] = table.rows(FoundInFile(FILES[1], 9, 9, NOTHING))
    assert row == f"{FILES[1]}  nothing found"


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_fits(columns):
    table = BoxTable(FILES, LABELS, columns)
    small = FoundInFile(FILES[1], 9, 9, TWO._replace(boxes=TWO.boxes / 10))
    rows = [table.header(), *table.rows(small)]
    assert len({len(row) for row in rows}) == 1 and len(rows[0]) <= columns
    [row] = table.rows(small._replace(found=NOTHING))
    assert len(row) <= columns and "picture.png" in row and row.endswith("nothing found")


def test_unprintable_characters():
    table = BoxTable([Path("x\ny\udcff.png")], ["d\x1bg"])
    [row] = table.rows(FoundInFile(Path("x\ny\udcff.png"), 9, 9, Found(TWO.boxes[:1], np.zeros(1, int), [0.5])))
    assert row.split()[:3] == ["x?y?.png", "d?g", "0.5000"]
