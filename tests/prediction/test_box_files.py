"""CSV files of boxes, and that two contents do not go into one file."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from src.errors import UserError
from src.prediction.box_files import to_csv, write_boxes_csv
from src.prediction.coco_results import Found, FoundInFile
from src.prediction.files import check_prediction_files

FOUND = Found(np.array([[1.004, 2.006, 11.5, 12.0], [0, 0, 1, 1]]), np.array([1, 0]), np.array([0.75, 0.1234567]))
NOTHING = Found(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))


def test_csv():
    images = [FoundInFile(Path("a,b.png"), 20, 20, FOUND), FoundInFile(Path("c.png"), 20, 20, NOTHING)]
    lines = [
        "file,label,score,x0,y0,x1,y1",
        '"a,b.png","""quoted"", label",0.75,1.0,2.01,11.5,12.0',
        '"a,b.png",狗,0.12346,0.0,0.0,1.0,1.0',
    ]
    assert to_csv(images, ["狗", '"quoted", label']).splitlines() == lines
    write_boxes_csv("out.csv", images, ["狗", '"quoted", label'])
    assert Path("out.csv").read_text(encoding="utf-8").splitlines() == lines


@pytest.mark.parametrize("text", ["=1+2", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_csv_has_no_formulas(text):
    content = to_csv([FoundInFile(Path(f"{text}.png"), 20, 20, FOUND)], ["a=1", text])
    _, first, second = csv.reader(io.StringIO(content, newline=""))
    assert first[:2] == [f"'{text}.png", f"'{text}"] and second[1] == "a=1"


def test_names_with_odd_bytes():
    write_boxes_csv("out.csv", [FoundInFile(Path("\udcff.png"), 20, 20, FOUND)], ["a", "b"])
    assert "\\udcff.png" in Path("out.csv").read_text()


def test_one_file_for_two_contents():
    with pytest.raises(UserError, match="^--json and --coco_results are both out.json: give them different names$"):
        check_prediction_files("out.json", None, "./out.json")
    with pytest.raises(UserError, match="out.txt: expected a name that ends in .json"):
        check_prediction_files(None, None, "out.txt")
    check_prediction_files("out.json", None, "coco.json")
