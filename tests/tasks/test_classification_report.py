"""A classifier's report against a reader's arithmetic, and what of it is written for few and for many classes."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from src.tasks.classification_report import ClassificationReport
from src.tasks.judged_images import JudgedImages


class Photos:
    def __getitem__(self, index):
        return Image.new("RGB", (30 + index, 20), "red"), 0

    def describe(self, index):
        return f"val/{index}.jpg"


def judge(labels, predictions, probabilities):
    labels, predictions = np.array(labels), np.array(predictions)
    ranks = np.where(labels == predictions, 1, 2)
    return JudgedImages(
        np.arange(len(labels)), labels, predictions, np.array(probabilities), ranks, np.zeros(len(labels))
    )


@pytest.fixture
def report():
    """Of four classes one has no image, and one is never predicted."""
    judged = judge([0, 0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 3, 1], [0.9, 0.8, 0.7, 0.95, 0.6, 0.5, 0.99])
    return ClassificationReport(judged, ["cat", "=dog", "狗", "cow"])


def read(path):
    return list(csv.reader(path.open(encoding="utf-8")))


def test_scores_of_classes(report):
    cat, dog, chinese, cow = report.per_class()
    assert cat[:5] == ("cat", 4, 3, 1.0, 0.75) and cat.f1 == pytest.approx(2 * 0.75 / 1.75)
    assert dog[:3] == ("=dog", 2, 3) and dog[3:] == pytest.approx((1 / 3, 1 / 2, 0.4))
    assert chinese == ("狗", 1, 0, None, 0.0, 0.0) and cow == ("cow", 0, 1, 0.0, None, None)
    assert "33.33   50.00  40.00       2" in report.table().text()


def test_what_is_taken_for_what(report):
    assert report.confusion().tolist() == [[3, 1, 0, 0], [0, 1, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]
    pairs = [("cat", "=dog", 1, 0.25), ("=dog", "cow", 1, 0.5), ("狗", "=dog", 1, 1.0)]
    assert list(report.confused_pairs()) == pairs
    assert report.mistakes().tolist() == [6, 3, 5]


def test_calibration():
    """Two bins: 0.8 and 0.9 said of what is right in half of the cases, 0.1 of what is always wrong."""
    report = ClassificationReport(judge([0, 0, 0, 0], [0, 1, 1, 1], [0.82, 0.86, 0.1, 0.1]), ["a", "b"])
    assert report.calibration_error() == pytest.approx((2 * abs(0.5 - 0.84) + 2 * 0.1) / 4)
    bins = [of for of in report.calibration() if of.images]
    assert [(of.images, of.accuracy) for of in bins] == [(2, 0.0), (2, 0.5)]
    sure = ClassificationReport(judge([0, 1], [0, 1], [1.0, 1.0]), ["a", "b"])
    assert sure.calibration_error() == 0 and sure.calibration()[-1].images == 2


def test_files(report, tmp_path):
    names = report.write(tmp_path, Photos())
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["images"] == 7 and scores["accuracy"] == pytest.approx(4 / 7)
    assert scores["balanced_accuracy"] == pytest.approx((0.75 + 0.5 + 0) / 3)
    images = read(tmp_path / "images.csv")
    assert images[0] == ["index", "file", "label", "prediction", "probability", "rank"] and len(images) == 8
    assert images[4] == ["3", "val/3.jpg", "cat", "'=dog", "0.95", "2"]  # no formula for spreadsheets
    assert read(tmp_path / "confusion.csv")[1] == ["cat", "3", "1", "0", "0"]
    assert read(tmp_path / "classes.csv")[4] == ["cow", "0", "1", "0.0", "", ""]
    assert read(tmp_path / "confused_pairs.csv")[1] == ["cat", "'=dog", "1", "0.25"]
    for name in ("confusion.png", "calibration.png", "mistakes.png"):
        Image.open(tmp_path / name).verify()


def test_a_thousand_classes_and_no_mistakes(tmp_path):
    """Pairs in place of a matrix that nobody could read; no sheet of mistakes."""
    rng = np.random.default_rng(0)
    labels = np.arange(1000)
    predictions = np.where(rng.random(1000) < 0.5, labels, rng.integers(0, 1000, 1000))
    classes = [f"a class with a long name, number {number}" for number in range(1000)]
    report = ClassificationReport(judge(labels, predictions, np.full(1000, 0.5)), classes)
    report.write(tmp_path, Photos())
    with Image.open(tmp_path / "confusion.png") as picture:
        assert max(picture.size) < 1500
    (tmp_path / "right").mkdir()
    report = ClassificationReport(judge(labels, labels, np.full(1000, 0.5)), classes)
    assert "mistakes.png" not in report.write(tmp_path / "right", Photos())
    assert read(tmp_path / "right" / "confused_pairs.csv") == [["label", "prediction", "images", "share"]]
