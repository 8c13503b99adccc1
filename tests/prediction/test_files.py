"""JSON and CSV files of predictions."""

import csv
import io
import json
from pathlib import Path

import pytest

from src.errors import UserError
from src.prediction.files import check_prediction_files, to_csv, write_predictions
from src.prediction.predictions import Prediction, Skipped

PREDICTIONS = [Prediction(Path("a,b.png"), [('"quoted", label', 0.75), ("狗", 0.25)])]


def test_csv():
    assert to_csv(PREDICTIONS).splitlines() == [
        "file,rank,label,probability",
        '"a,b.png",1,"""quoted"", label",0.75',
        '"a,b.png",2,狗,0.25',
    ]


@pytest.mark.parametrize("text", ["=1+2", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_csv_has_no_formulas(text):
    predictions = [Prediction(Path(f"{text}.png"), [(text, 1.0), ("a=1", 1e-7)])]
    _, *rows = csv.reader(io.StringIO(to_csv(predictions), newline=""))
    assert rows == [[f"'{text}.png", "1", f"'{text}", "1.0"], [f"'{text}.png", "2", "a=1", "1e-07"]]
    write_predictions("out.json", None, predictions, [])
    (image,) = json.loads(Path("out.json").read_text(encoding="utf-8"))["images"]
    assert (image["file"], image["predictions"][0]["label"]) == (f"{text}.png", text)


def test_files_are_written():
    write_predictions("out.json", None, PREDICTIONS, [Skipped(Path("x"), "why")])
    assert not Path("out.csv").exists()
    write_predictions(None, "out.csv", PREDICTIONS, [])
    assert Path("out.csv").read_text(encoding="utf-8") == to_csv(PREDICTIONS)
    assert json.loads(Path("out.json").read_text(encoding="utf-8")) == {
        "images": [
            {
                "file": "a,b.png",
                "predictions": [
                    {"label": '"quoted", label', "probability": 0.75},
                    {"label": "狗", "probability": 0.25},
                ],
            }
        ],
        "skipped": [{"file": "x", "reason": "why"}],
    }


def test_links_are_written_through():
    Path("folder").mkdir()
    for name in ("out.json", "out.csv"):
        Path("folder", name).write_text("old")
        Path(name).symlink_to(Path("folder", name))
    check_prediction_files("out.json", "out.csv")
    write_predictions("out.json", "out.csv", PREDICTIONS, [])
    assert Path("out.json").is_symlink() and Path("out.csv").is_symlink()
    assert json.loads(Path("folder/out.json").read_text(encoding="utf-8"))["images"][0]["file"] == "a,b.png"
    assert Path("folder/out.csv").read_text(encoding="utf-8") == to_csv(PREDICTIONS)


def test_names_with_odd_bytes():
    write_predictions("out.json", "out.csv", [Prediction(Path("\udcff.png"), [("a", 1.0)])], [])
    assert "\\udcff.png" in Path("out.csv").read_text() and "\\udcff.png" in Path("out.json").read_text()


def test_files_that_cannot_be_written():
    Path("folder.json").mkdir()
    for json_file, csv_file, message in [
        ("photo.png", None, "photo.png: expected a name that ends in .json"),
        (None, "out.txt", "out.txt: expected a name that ends in .csv"),
        ("folder.json", None, "folder.json is a folder"),
        (None, "missing/out.csv", "missing is not a folder"),
    ]:
        with pytest.raises(UserError, match=message):
            check_prediction_files(json_file, csv_file)
    check_prediction_files(None, None)
    check_prediction_files("out.json", "out.csv")
    assert [path.name for path in Path().iterdir()] == ["folder.json"]
