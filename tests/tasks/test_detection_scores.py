"""Scores of detections: a stored case of pycocotools, numbers that a reader sees, and what ranks tell each other."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from src.detection.run_lengths import encode
from src.devices.ranks import Exchange, Ranks
from src.errors import UserError
from src.tasks.detection_scores import SCORE_KINDS, SCORE_KINDS_WITH_MASKS, DetectionScorer
from src.tasks.scores import NotFiniteError

GOLDEN = json.loads((Path(__file__).parents[1] / "reference/detection/coco_eval.json").read_text())
MOST = 20  # rows for the detections of an image


class Told(Exchange):
    """Notes what this rank tells, and answers as if another one had told this before."""

    def __init__(self, others=None):
        super().__init__(Ranks())
        self.told, self._others = [], list(others or [])

    def union(self, indices):
        self.told.append(set(indices))
        return self.told[-1] | (self._others.pop(0) if self._others else set())

    def rows(self, own):
        self.told.append(own)
        return np.concatenate([self._others.pop(0), own]) if self._others else own

    def byte_rows(self, own):
        self.told.append(list(own))
        return self._others.pop(0) + list(own) if self._others else list(own)


def golden_file():
    Path("golden.json").write_text(json.dumps({key: GOLDEN[key] for key in ("images", "categories", "annotations")}))
    return "golden.json", [category["id"] for category in GOLDEN["categories"]], [im["id"] for im in GOLDEN["images"]]


def outputs_of(detections):
    """Of a batch: for each image a list of (label, score, box)."""
    boxes, scores = np.zeros((len(detections), MOST, 4), np.float32), np.zeros((len(detections), MOST), np.float32)
    labels = np.full((len(detections), MOST), -1, np.int32)
    for image, found in enumerate(detections):
        for row, (label, score, box) in enumerate(found):
            boxes[image, row], scores[image, row], labels[image, row] = box, score, label
    return boxes, scores, labels, np.array([len(found) for found in detections], np.int32)


def add(scorer, indices, detections, num_valid=None):
    truth = (np.array(indices, np.int64),)
    scorer.add(outputs_of(detections), truth, len(indices) if num_valid is None else num_valid)


def golden_detections(index):
    number = GOLDEN["images"][index]["id"]
    return [(d["label"], d["score"], d["box"]) for d in GOLDEN["detections"] if d["image_id"] == number]


def golden_scorer(indices):
    scorer = DetectionScorer(*golden_file())
    for index in indices:
        add(scorer, [index, index], [golden_detections(index)] * 2, num_valid=1)  # the second fills up
    return scorer


def golden_mask_scorer(indices):
    scorer = DetectionScorer(*golden_file(), has_masks=True)
    for index in indices:
        own = [d for d in GOLDEN["detections"] if d["image_id"] == GOLDEN["images"][index]["id"]]
        boxes = np.array([d["box"] for d in own], np.float32).reshape(-1, 4)
        scores, labels = np.array([d["score"] for d in own], np.float32), np.array([d["label"] for d in own], np.int32)
        scorer.add_image(index, boxes, scores, labels, [d["mask"] for d in own])
    return scorer


def small_scorer(
    objects, images=(7, 8), categories=((3, "cat"), (1, "dog")), segmentations=None, size=(200, 200), **options
):
    """Objects: (image id, category id, x y w h, iscrowd), whose ids begin with 0, in images of (height, width)."""
    height, width = size
    content = {
        "images": [{"id": number, "file_name": f"{number}.jpg", "width": width, "height": height} for number in images],
        "categories": [{"id": number, "name": name} for number, name in categories],
        "annotations": [
            {"id": number, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3]}
            | ({"iscrowd": 1} if crowd else {})
            | ({} if segmentations is None else {"segmentation": segmentations[number]})
            for number, (image, category, box, crowd) in enumerate(objects)
        ],
    }
    Path("small.json").write_text(json.dumps(content))
    return DetectionScorer("small.json", [number for number, _ in categories], images, **options)


def test_the_stored_case(capsys):
    scorer = golden_scorer(range(6))
    scores = scorer.scores()
    assert list(scores) == [kind.name for kind in SCORE_KINDS] and scores.images == 6
    assert list(scores.values()) == pytest.approx([100 * value for value in GOLDEN["stats"]["bbox"]], abs=1e-9)
    classes = scorer.per_class()
    assert [one.name for one in classes] == ["c1", "c3", "c17"]
    assert [one.ap for one in classes] == pytest.approx([100 * v for v in GOLDEN["class_ap"]["bbox"]], abs=1e-9)
    assert np.mean([one.ap50 for one in classes]) == pytest.approx(scores["ap50"])
    counted = [annotation["category_id"] for annotation in GOLDEN["annotations"] if not annotation["iscrowd"]]
    assert [one.objects for one in classes] == [counted.count(number) for number in (1, 3, 17)]
    assert capsys.readouterr() == ("", "")
    assert scores.deciding == scores["ap"] and str(scores).startswith("AP 17.34 %, AP50 28.17 %, ")


def test_labels_are_places_among_the_ids_whatever_their_order():
    file, categories, images = golden_file()
    scorer = DetectionScorer(file, categories[::-1], images)
    for index in range(6):
        add(scorer, [index], [[(2 - label, score, box) for label, score, box in golden_detections(index)]])
    assert scorer.scores()["ap"] == pytest.approx(100 * GOLDEN["stats"]["bbox"][0], abs=1e-9)
    assert [one.ap for one in scorer.per_class()] == pytest.approx([100 * v for v in GOLDEN["class_ap"]["bbox"]][::-1])


def test_ranks_share_the_images():
    first, second, whole = golden_scorer([0, 2, 4]), golden_scorer([1, 3, 5]), golden_scorer(range(6)).scores()
    alone = Told()
    assert first.scores(alone).images == 3
    other = Told(alone.told)
    assert second.scores(other).to_dict() == whole.to_dict()
    assert first.scores(Told(other.told)).to_dict() == whole.to_dict()
    assert first.per_class() == second.per_class()


def test_an_image_that_was_not_judged_does_not_count():
    objects = [(7, 3, [10, 10, 50, 50], 0), (8, 3, [20, 20, 40, 40], 0)]
    scorer = small_scorer(objects)
    add(scorer, [0], [[(0, 0.9, [10, 10, 60, 60])]])
    assert scorer.scores()["ap"] == pytest.approx(100) and scorer.scores().images == 1
    assert [one.objects for one in scorer.per_class()] == [1, 0]
    add(scorer, [1], [[]])  # judged, and nothing found
    assert scorer.scores()["ar100"] == 50 and scorer.scores().images == 2
    assert scorer.scores()["ap"] == pytest.approx(100 * 51 / 101)  # precision 1 at recalls 0, 0.01 ... 0.5


def test_what_no_object_is_annotated_of_is_minus_one():
    scorer = small_scorer([(7, 3, [10, 10, 50, 50], 0), (7, 1, [0, 0, 9, 9], 1)])
    add(scorer, [0], [[(0, 0.9, [10, 10, 60, 60])]])
    scores = scorer.scores()
    assert scores["ap_medium"] == pytest.approx(100) and scores["ap_small"] == scores["ar_large"] == -1
    assert json.loads(json.dumps(scores.to_dict()))["ap_small"] == -1
    cat, dog = scorer.per_class()
    assert (dog.ap, dog.ap50, dog.objects) == (-1, -1, 0)  # a crowd only
    assert cat.name == "cat" and cat.ap == pytest.approx(100) and cat.objects == 1


def test_no_detection_at_all_is_zero():
    scorer = golden_scorer([])
    add(scorer, range(6), [[]] * 6)
    assert set(scorer.scores().values()) == {0.0} and scorer.scores().images == 6


def test_nothing_to_score():
    scorer = small_scorer([(7, 3, [10, 10, 50, 50], 0), (8, 1, [0, 0, 9, 9], 1)])
    with pytest.raises(ValueError, match="per_class comes after scores"):
        scorer.per_class()
    with pytest.raises(UserError, match="no image could be evaluated"):
        scorer.scores()
    add(scorer, [1], [[(1, 0.5, [0, 0, 9, 9])]])
    with pytest.raises(UserError, match=r"^no annotated object: small.json has none that is no crowd in the 1 images"):
        scorer.scores()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["box", "score", "count"])
def test_what_is_not_finite_is_no_score(value, place):
    scorer = small_scorer([(7, 3, [10, 10, 50, 50], 0)], images=(6, 7, 8))
    bad = (0, value, [1, 2, 3, 4]) if place == "score" else (0, 0.5, [1, value, 3, 4])
    outputs = outputs_of([[(0, 0.9, [10, 10, 60, 60])], [] if place == "count" else [bad]])
    if place == "count":
        outputs[3][1] = -1
    scorer.add(outputs, (np.array([2, 1]),), 2)
    with pytest.raises(NotFiniteError, match=r"not finite for 1 of 2 images, the first is image 7 \(7.jpg\): its"):
        scorer.scores()
    others = [{0}, {2}, np.zeros((0, 7))]
    with pytest.raises(NotFiniteError, match=r"not finite for 2 of 3 images, the first is image 6"):
        scorer.scores(Told(others))


def test_what_fills_up_does_not_count():
    """Neither the rows of a batch nor those behind an image's last detection."""
    scorer = small_scorer([(7, 3, [10, 10, 50, 50], 0)])
    outputs = outputs_of([[(0, 0.9, [10, 10, 60, 60]), (9, np.nan, [np.nan] * 4)], [(9, np.nan, [np.nan] * 4)]])
    outputs[3][0] = 1
    scorer.add(outputs, (np.array([0, 0]),), 1)
    assert scorer.scores()["ap"] == pytest.approx(100)


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_of_no_category(label):
    with pytest.raises(ValueError, match=f"labels {label} to {label}"):
        add(small_scorer([]), [0], [[(label, 0.9, [1, 2, 3, 4])]])


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-detection.txt$") as error:
        DetectionScorer(*golden_file())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "^cannot read broken.json: No such file"),
        ("{", "expected a COCO file of instances, got something else"),
        ("[]", "expected a COCO file of instances, got something else"),
        ('{"images": []}', "expected a COCO file of instances, but an entry 'categories' is missing"),
        ('{"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": [{}]}', "an entry 'image_id' is missing"),
        ('{"images": [{"id": 1}], "categories": [{"id": 2}], "annotations": []}', "has no category of id 1: it is an"),
        ('{"images": [{"id": 2}], "categories": [{"id": 1}], "annotations": []}', "has no image of id 1: it is anoth"),
        (
            '{"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": '
            '[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3]}]}',
            "a bbox of 3 numbers",
        ),
    ],
)
def test_files_that_are_none(text, reason):
    if text is not None:
        Path("broken.json").write_text(text)
    with pytest.raises(UserError, match=reason) as error:
        DetectionScorer("broken.json", [1], [1])
    assert "\n" not in str(error.value)


def square(x0, y0, x1, y1):
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def test_the_stored_case_with_masks(capsys):
    scorer = golden_mask_scorer(range(6))
    scores = scorer.scores()
    assert list(scores) == [kind.name for kind in SCORE_KINDS_WITH_MASKS]
    values = [100 * value for value in (*GOLDEN["stats"]["bbox"], *GOLDEN["stats"]["segm"][:6])]
    assert list(scores.values()) == pytest.approx(values, abs=1e-9) and scores.deciding == scores["ap"]
    classes = scorer.per_class()
    for which, name in (("ap", "bbox"), ("mask_ap", "segm")):
        assert [getattr(one, which) for one in classes] == pytest.approx([100 * v for v in GOLDEN["class_ap"][name]])
    assert np.mean([one.mask_ap50 for one in classes]) == pytest.approx(scores["mask_ap50"])
    assert scorer.scores() == scores and capsys.readouterr() == ("", "")
    table = scorer.table()
    assert table.header == ["class", "AP", "AP50", "mask AP", "mask AP50", "objects"]
    assert table.rows[0][3:5] == [f"{classes[0].mask_ap:.2f}", f"{classes[0].mask_ap50:.2f}"]
    boxes = golden_scorer(range(6))
    boxes.scores()
    assert boxes.table().header == ["class", "AP", "AP50", "objects"] and boxes.per_class()[0].mask_ap is None


def test_ranks_share_the_images_of_masks():
    first, second = golden_mask_scorer([0, 2, 4]), golden_mask_scorer([1, 3, 5])
    whole = golden_mask_scorer(range(6)).scores()
    alone = Told()
    assert first.scores(alone).images == 3
    other = Told(alone.told)
    assert second.scores(other).to_dict() == whole.to_dict()
    assert first.scores(Told(other.told)).to_dict() == whole.to_dict()
    assert first.per_class() == second.per_class()


def test_probabilities_are_pasted_into_their_boxes():
    """A half of the box, which is that of the object: IoU 1 of boxes, and of masks 1 and 0.5."""
    left, whole = np.zeros((28, 28), np.float32), np.ones((28, 28), np.float32)
    left[:, :14] = 1
    for mask, ap50, ap75 in ((left, 100, 100), (whole, 100, 0)):
        objects, truth = [(7, 3, [10, 20, 80, 40], 0)], [square(10, 20, 50, 60)]
        scorer = small_scorer(objects, segmentations=truth, size=(70, 200), has_masks=True)
        outputs = (*outputs_of([[(0, 0.9, [10, 20, 90, 60])]]), np.zeros((1, MOST, 28, 28), np.float32))
        outputs[4][0, 0], outputs[4][0, 1:] = mask, np.nan  # what fills up does not count
        scorer.add(outputs, (np.array([0]),), 1)
        scores = scorer.scores()
        assert scores["ap75"] == pytest.approx(100)
        assert [scores["mask_ap50"], scores["mask_ap75"]] == pytest.approx([ap50, ap75])


def test_the_size_of_a_found_object_is_that_of_its_mask():
    """30 x 30 pixels in a box of 200 x 200: a small one, that is no wrong find among large ones."""
    objects = [(7, 3, [0, 0, 30, 30], 0), (8, 3, [0, 0, 190, 190], 0)]
    scorer = small_scorer(objects, segmentations=[square(0, 0, 30, 30), square(0, 0, 190, 190)], has_masks=True)
    wrong, right = np.zeros((200, 200), bool), np.zeros((200, 200), bool)
    wrong[100:130, 100:130] = right[:190, :190] = True
    box, one = np.array([[0, 0, 200, 200]], np.float32), np.zeros(1, np.int32)
    scorer.add_image(0, box, np.array([0.9]), one, [encode(wrong)])
    scorer.add_image(1, box, np.array([0.5]), one, [encode(right)])
    scores = scorer.scores()
    assert scores["mask_ap_large"] == pytest.approx(100)
    assert scores["mask_ap"] == pytest.approx(50 * 51 / 101)  # precision 1/2 at recalls 0, 0.01 ... 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_masks_that_are_not_finite(value):
    scorer = small_scorer([(7, 3, [1, 1, 9, 9], 0)], segmentations=[square(1, 1, 9, 9)], has_masks=True)
    outputs = (*outputs_of([[(0, 0.9, [1, 1, 9, 9])]]), np.zeros((1, MOST, 28, 28), np.float32))
    outputs[4][0, 0, 3, 3] = value
    scorer.add(outputs, (np.array([0]),), 1)
    with pytest.raises(NotFiniteError, match="not finite for 1 of 1 images"):
        scorer.scores()


PIXELS = 200 * 200
CODE = {"size": [200, 200], "counts": encode(np.ones((200, 200), bool))["counts"]}


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        (None, "it is missing"),
        ([], "expected polygons of at least three points"),
        ([[1, 2, 3, 4]], "expected polygons of at least three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "expected polygons of at least three points"),
        ([[1, 2, 3, 4, 5, float("nan")]], "points that are not finite"),
        ([[1, 2, 3, 4, 5, "x"]], "could not convert string to float"),
        ([7], "has no len"),
        ("text", "string indices must be integers"),
        ({"counts": [PIXELS]}, "'size'"),
        (CODE | {"size": [200, 100]}, "of another size than the image's, 200 x 200"),
        (CODE | {"counts": [PIXELS - 1]}, "of another number of pixels"),
        (CODE | {"counts": [PIXELS + 5, -5]}, "of another number of pixels"),
        (CODE | {"counts": CODE["counts"] + "1"}, "of another number of pixels"),
        (CODE | {"counts": "\x01"}, "of other letters than COCO's"),
        (CODE | {"counts": "X"}, "of other letters than COCO's"),  # goes on, and ends
        (CODE | {"counts": 5}, "has no attribute"),
    ],
)
def test_segmentations_that_are_none(segmentation, reason):
    with pytest.raises(UserError, match=r"^small.json: the object \[1.* in image 7 has no segmentation") as error:
        small_scorer([(7, 3, [1, 1, 9, 9], 0)], segmentations=[segmentation], has_masks=True)
    assert reason in str(error.value) and "\n" not in str(error.value)
    assert small_scorer([(7, 3, [1, 1, 9, 9], 0)], segmentations=[segmentation])  # boxes do without


@pytest.mark.parametrize("kind", [CODE, CODE | {"counts": [0, PIXELS]}, square(0, 0, 200, 200)])
def test_segmentations_of_each_kind(kind):
    scorer = small_scorer([(7, 3, [0, 0, 200, 200], 0)], segmentations=[kind], has_masks=True)
    box = np.array([[0, 0, 200, 200]], np.float32)
    scorer.add_image(0, box, np.array([0.9]), np.zeros(1, np.int32), [CODE])
    assert scorer.scores()["mask_ap"] == pytest.approx(100)


def test_masks_need_the_sizes_of_images():
    content = {"images": [{"id": 1, "height": 5}], "categories": [{"id": 1}], "annotations": []}
    Path("sizes.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"^sizes.json: image 1 has no height and width, which masks .*: add them$"):
        DetectionScorer("sizes.json", [1], [1], has_masks=True)
    assert DetectionScorer("sizes.json", [1], [1])
