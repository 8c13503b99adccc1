"""Detections as files: what is in them, and that pycocotools reads them."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from src.detection.run_lengths import encode
from src.errors import UserError
from src.prediction.coco_results import (
    Found,
    FoundInFile,
    to_coco_results,
    to_dict,
    write_coco_results,
    write_detections,
)
from src.prediction.predictions import Skipped
from src.tasks.scores import NotFiniteError

GOLDEN = json.loads((Path(__file__).parents[1] / "reference/detection/coco_eval.json").read_text())
ONE = Found(np.array([[1.004, 2.006, 11.5, 12.0]], np.float32), np.array([1], np.int32), np.array([0.1234567]))
NOTHING = Found(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32))


def test_results_as_coco_wants_them():
    results = to_coco_results([(np.int64(42), ONE), (43, NOTHING)], [5, 90])
    assert results == [{"image_id": 42, "category_id": 90, "bbox": [1.0, 2.01, 10.5, 9.99], "score": 0.12346}]
    write_coco_results("results.json", [(42, ONE), (42, ONE)], [5, 90])
    text = Path("results.json").read_text()
    assert json.loads(text) == results * 2 and len(text.splitlines()) == 4  # one a line between brackets


def test_pycocotools_reads_and_scores_them():
    images = []
    for image in GOLDEN["images"]:
        own = [d for d in GOLDEN["detections"] if d["image_id"] == image["id"]]
        boxes = np.array([d["box"] for d in own], np.float32).reshape(-1, 4)
        images.append((image["id"], Found(boxes, np.array([d["label"] for d in own], int), [d["score"] for d in own])))
    write_coco_results("results.json", images, [category["id"] for category in GOLDEN["categories"]])
    Path("truth.json").write_text(json.dumps({key: GOLDEN[key] for key in ("images", "categories", "annotations")}))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO("truth.json")
        evaluation = COCOeval(truth, truth.loadRes("results.json"), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats.tolist() == pytest.approx(GOLDEN["stats"]["bbox"], abs=1e-9)


def test_pycocotools_reads_and_scores_masks():
    """Without the boxes, in whose place it takes those of the masks."""
    images = []
    for image in GOLDEN["images"]:
        own = [d for d in GOLDEN["detections"] if d["image_id"] == image["id"]]
        boxes, labels = np.array([d["box"] for d in own]).reshape(-1, 4), np.array([d["label"] for d in own], int)
        images.append((image["id"], Found(boxes, labels, [d["score"] for d in own], [d["mask"] for d in own])))
    write_coco_results("results.json", images, [category["id"] for category in GOLDEN["categories"]])
    Path("truth.json").write_text(json.dumps({key: GOLDEN[key] for key in ("images", "categories", "annotations")}))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO("truth.json")
        whole = truth.loadRes("results.json")
        assert whole.annToMask(whole.anns[1]).sum() > 0
        results = json.loads(Path("results.json").read_text())
        for result in results:
            del result["bbox"]
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats.tolist() == pytest.approx(GOLDEN["stats"]["segm"], abs=1e-9)


def test_masks_are_fields_of_their_detections():
    codes = [encode(np.array([[True, False], [False, on]])) for on in (True, False)]
    two = Found(np.array([[0, 0, 2, 2]] * 2), np.array([1, 0]), np.array([0.9, 0.8]), codes)
    results = to_coco_results([(42, two), (43, ONE)], [5, 90])
    assert [result.get("segmentation") for result in results] == [*codes, None]
    assert codes[0] == {"size": [2, 2], "counts": "0120"} and json.loads(json.dumps(results)) == results
    [image, other] = to_dict([FoundInFile(Path("a"), 2, 2, two), FoundInFile(Path("b"), 9, 9, ONE)], "ab")["images"]
    assert [detection["segmentation"] for detection in image["detections"]] == codes
    assert list(image["detections"][0]) == ["label", "score", "box", "segmentation"]
    assert "segmentation" not in other["detections"][0]


def test_lists_by_file():
    images = [
        FoundInFile(Path("in/a.jpg"), 640, 480, ONE),
        FoundInFile(Path("b\udcff.png"), np.int64(30), np.int64(20), NOTHING),
    ]
    skipped = [Skipped(Path("c.txt"), "no image")]
    write_detections("out.json", images, ["dog", "cat 猫"], skipped)
    assert json.loads(Path("out.json").read_text()) == {
        "images": [
            {
                "file": "in/a.jpg",
                "width": 640,
                "height": 480,
                "detections": [{"label": "cat 猫", "score": 0.12346, "box": [1.0, 2.01, 11.5, 12.0]}],
            },
            {"file": "b\udcff.png", "width": 30, "height": 20, "detections": []},
        ],
        "skipped": [{"file": "c.txt", "reason": "no image"}],
    }


def test_nothing_found():
    write_coco_results("empty.json", [(1, NOTHING)], [1])
    assert json.loads(Path("empty.json").read_text()) == []
    assert to_dict([], ["cat"]) == {"images": [], "skipped": []}


def test_no_minus_zero():
    corner = ONE._replace(boxes=np.array([[-0.001, -0.0, 2, 3]]))
    assert "-0.0" not in json.dumps(to_coco_results([(1, corner)], [1, 2]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_not_written(value):
    Path("out.json").write_text("older")
    for bad in (ONE._replace(scores=np.array([value])), ONE._replace(boxes=np.array([[0, 0, value, 1]]))):
        with pytest.raises(NotFiniteError, match="^the detections of image 7 are not finite"):
            write_coco_results("out.json", [(7, bad)], [1, 2])
        with pytest.raises(NotFiniteError, match="^the detections of x.jpg are not finite"):
            write_detections("out.json", [FoundInFile(Path("x.jpg"), 1, 1, bad)], ["a", "b"])
    assert Path("out.json").read_text() == "older"


def test_files_that_cannot_be_written():
    for write in (
        lambda path: write_coco_results(path, [(1, ONE)], [1, 2]),
        lambda path: write_detections(path, [FoundInFile(Path("x.jpg"), 1, 1, ONE)], ["a", "b"]),
    ):
        with pytest.raises(UserError, match="^cannot write no/folder.json: No such file") as error:
            write("no/folder.json")
        assert "\n" not in str(error.value)
