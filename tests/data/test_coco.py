"""COCO layout: what is read, which boxes and images count, and that every broken entry is named."""

import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from src.data.coco import Coco
from src.errors import UserError

POLYGON = [[1.5, 2, 10, 2, 10, 12]]


def image(number, width=64, height=48, **changes):
    return {"id": number, "file_name": f"{number}.png", "width": width, "height": height, **changes}


def annotation(number, image_id=7, bbox=(1, 2, 10, 12), category_id=3, **changes):
    area = bbox[2] * bbox[3]
    entry = {"id": number, "image_id": image_id, "category_id": category_id, "bbox": list(bbox), "area": area}
    return {**entry, "iscrowd": 0, "segmentation": POLYGON, **changes}


CATEGORIES = [{"id": 90, "name": "toothbrush"}, {"id": 3, "name": "car"}]


def put(root, images, annotations, categories=CATEGORIES, split="val", year="2017"):
    folder = root / f"{split}{year}"
    folder.mkdir(parents=True, exist_ok=True)
    for entry in images:
        path = folder / entry["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (entry["width"], entry["height"]), (entry["id"] % 256, 0, 0)).save(path)
    put_json(root, {"images": images, "annotations": annotations, "categories": categories}, split, year)
    return root


def put_json(root, content, split="val", year="2017"):
    (root / f"{split}{year}").mkdir(parents=True, exist_ok=True)
    path = root / "annotations" / f"instances_{split}{year}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_what_is_read(tmp_path):
    code = {"size": [48, 64], "counts": [0, 48 * 64]}
    annotations = [
        annotation(1, 9, (0, 0, 5, 6), 90, segmentation=code, iscrowd=1),
        annotation(2, 7, (1, 2, 10, 12), 3),
        annotation(3, 9, (1.25, 2, 10, 12), 3, area=33.5, segmentation=[[0, 0, 1, 0, 1, 1], [2, 2, 3, 2, 3, 3, 4, 4]]),
    ]
    del annotations[1]["segmentation"], annotations[1]["iscrowd"]
    coco = Coco(put(tmp_path, [image(9), image(7, 30, 20, file_name="deep/7.png")], annotations), "val")
    assert (coco.classes, coco.category_ids, len(coco)) == (["car", "toothbrush"], [3, 90], 2)
    assert [coco.size(i) for i in range(2)] == [(48, 64), (20, 30)] and [coco.image_id(i) for i in range(2)] == [9, 7]
    picture = coco.image(1)
    assert (picture.mode, picture.size, picture.getpixel((0, 0))) == ("RGB", (30, 20), (7, 0, 0))
    assert coco.describe(1) == str(tmp_path / "val2017" / "deep" / "7.png")
    assert coco.annotations_file == tmp_path / "annotations" / "instances_val2017.json"
    objects = coco.objects(0)
    assert objects.boxes.tolist() == [[0, 0, 5, 6], [1.25, 2, 11.25, 14]] and objects.boxes.dtype == np.float32
    assert objects.labels.tolist() == [1, 0] and objects.labels.dtype == np.int32
    assert objects.is_crowd.tolist() == [True, False] and objects.is_crowd.dtype == bool
    assert objects.area.tolist() == [30, 33.5] and objects.area.dtype == np.float32
    assert objects.segmentations == [code, annotations[2]["segmentation"]]
    assert coco.objects(1).segmentations == [None] and coco.objects(1).is_crowd.tolist() == [False]
    assert Coco(tmp_path, "val", keep_segmentations=False).objects(0).segmentations == [None, None]
    assert coco.describe_ignored() is None


def test_boxes_that_do_not_count(tmp_path):
    """As mmdetection: an image of 64 x 48 pixels."""
    kept = [(-5, 0, 6, 5), (63, 47, 9, 9), (0, 0, 1, 1)]
    dropped = [(-5, 0, 5, 5), (64, 0, 5, 5), (0, 48, 5, 5), (0, -6, 5, 6), (0, 0, 0.99, 9), (0, 0, 9, 0.99)]
    annotations = [annotation(i, bbox=box) for i, box in enumerate([*dropped[:3], *kept, *dropped[3:]])]
    annotations.append(annotation(99, area=0))
    coco = Coco(put(tmp_path, [image(7)], annotations), "val")
    assert coco.objects(0).boxes.tolist() == [[-5, 0, 1, 5], [63, 47, 72, 56], [0, 0, 1, 1]]
    assert coco.describe_ignored().endswith(
        "left out 0 of 1 images and 7 of 10 boxes, which are empty, too small or outside their image"
    )


def test_images_that_training_leaves_out(tmp_path):
    """1 empty, 2 a crowd alone, 3 too low, 4 and 5 fine (5 with a crowd beside), 6 with a box that does not count."""
    images = [image(1), image(2), image(3, 64, 31), image(4, 32, 32), image(5), image(6)]
    annotations = [
        annotation(1, 5, iscrowd=1),
        annotation(2, 2, iscrowd=1),
        annotation(3, 3),
        annotation(4, 4),
        annotation(5, 5, (3, 4, 5, 6)),
        annotation(6, 6, area=0),
    ]
    put(tmp_path, images, annotations)
    assert len(Coco(tmp_path, "val")) == 6 and len(Coco(tmp_path, "val").objects(0).boxes) == 0
    coco = Coco(tmp_path, "val", for_training=True)
    assert [coco.image_id(i) for i in range(len(coco))] == [4, 5]
    assert coco.objects(0).boxes.tolist() == [[1, 2, 11, 14]]
    assert coco.objects(1).is_crowd.tolist() == [True, False]
    assert [entry is not None for entry in coco.objects(1).segmentations] == [True, True]
    assert "left out 4 of 6 images and 3 of 6 boxes" in coco.describe_ignored()
    put_json(tmp_path, {"images": images[:3], "annotations": annotations[1:3], "categories": CATEGORIES})
    with pytest.raises(UserError, match="no image to train on: none of its 3 images has a side of at least 32"):
        Coco(tmp_path, "val", for_training=True)


def test_places(tmp_path):
    put(tmp_path, [image(7)], [annotation(1)], split="train", year="")
    assert Coco(tmp_path, "train").image(0).size == (64, 48)
    put(tmp_path, [image(8)], [annotation(1, 8)], split="train")  # the usual names go first
    coco = Coco(str(tmp_path), "train")
    assert (coco.image_id(0), coco.path(0)) == (8, tmp_path / "train2017" / "8.png")
    coco = Coco(tmp_path, "val", "annotations/instances_train.json", "train")
    assert (coco.image_id(0), coco.image(0).size) == (7, (64, 48))
    for arguments, message in (
        (("test",), "unknown split 'test': expected 'train' or 'val'"),
        (("val",), "no file of annotations annotations/instances_val2017.json or annotations/instances_val.json; exp"),
        (("train", "other.json"), "has no file of annotations other.json; expected ROOT/annotations"),
        (("train", None, "photos"), "has no folder of images photos; expected ROOT/annotations"),
    ):
        with pytest.raises(UserError, match=message):
            Coco(tmp_path, *arguments)
    with pytest.raises(UserError, match="nowhere does not exist or is no folder"):
        Coco(tmp_path / "nowhere", "val")


def test_masks(tmp_path):
    """Of the objects that are no crowd, in their order; also from a copy in another process."""
    code = {"size": [48, 64], "counts": [48, 2, 48 * 63 - 2]}
    annotations = [
        annotation(1, 8, segmentation=[[0, 0, 64, 0, 64, 1, 0, 1]]),
        annotation(2, iscrowd=1, segmentation={"size": [48, 64], "counts": [0, 48 * 64]}),
        annotation(3, segmentation=code),
        annotation(4, area=0, segmentation=None),
        annotation(5, segmentation=[[2, 0, 4, 0, 4, 3, 2, 3], [62, 40, 64, 40, 64, 48, 62, 48]]),
        annotation(6, 9, iscrowd=1, segmentation=None),
    ]
    coco = Coco(put(tmp_path, [image(7), image(8, 64, 32), image(9)], annotations), "val", needs_masks=True)
    expected = np.zeros((2, 48, 64), np.uint8)
    expected[0, :2, 1] = 1
    expected[1, :3, 2:4] = expected[1, 40:, 62:] = 1
    for data in (coco, pickle.loads(pickle.dumps(coco)), Coco(tmp_path, "val")):
        masks = data.masks(0)
        assert masks.dtype == np.uint8 and np.array_equal(masks, expected)
        assert data.masks(1).shape == (1, 32, 64) and data.masks(1).sum() == 64
        assert data.masks(2).shape == (0, 48, 64)
        assert data.max_objects == 2
    kept = Coco(tmp_path, "val", keep_segmentations=False, needs_masks=True)
    assert np.array_equal(kept.masks(0), expected)
    with pytest.raises(UserError, match=r"instances_val2017.json: image 7 has objects without a segmentation, of wh"):
        Coco(tmp_path, "val", keep_segmentations=False).masks(0)


def test_largest_number_of_objects(tmp_path):
    """Of the images and boxes that count."""
    annotations = [annotation(i, 7, iscrowd=int(i < 4)) for i in range(5)]
    annotations += [annotation(10, 8), annotation(11, 8), annotation(12, 8, area=0)]
    annotations += [annotation(i, 9) for i in range(20, 23)]
    put(tmp_path, [image(7), image(8), image(9, 64, 31)], annotations)
    assert Coco(tmp_path, "val").max_objects == 3
    assert Coco(tmp_path, "val", for_training=True).max_objects == 2
    put_json(tmp_path, {"images": [image(7)], "annotations": annotations[:4], "categories": CATEGORIES})
    assert Coco(tmp_path, "val").max_objects == 0


@pytest.mark.parametrize("missing", [None, [], ...])
def test_segmentations_that_are_needed(tmp_path, missing):
    """Not those of crowds, of boxes that do not count, or of images that are left out."""
    without = [
        changed(annotation(number, **changes), {"segmentation": missing})
        for number, changes in ((1, {"iscrowd": 1}), (2, {"area": 0}), (3, {"image_id": 8}))
    ]
    images = [image(7), image(8, 64, 31)]
    put_json(tmp_path, {"images": images, "annotations": [*without, annotation(4)], "categories": CATEGORIES})
    assert len(Coco(tmp_path, "val", for_training=True, needs_masks=True)) == 1
    expected = "'segmentation' must be a list of polygons .* of the image's size, but it is missing; correct or remove"
    with pytest.raises(UserError, match=rf"instances_val2017\.json: annotation 3: {expected}"):
        Coco(tmp_path, "val", needs_masks=True)
    without.append(changed(annotation(-5), {"segmentation": missing}))
    put_json(tmp_path, {"images": images, "annotations": [annotation(4), *without], "categories": CATEGORIES})
    with pytest.raises(UserError, match=f"annotation -5: {expected}") as caught:
        Coco(tmp_path, "val", for_training=True, needs_masks=True)
    assert "\n" not in str(caught.value)
    assert len(Coco(tmp_path, "val", for_training=True)) == 1


def test_pickled_and_fingerprint(tmp_path):
    put(tmp_path / "a", [image(7), image(8)], [annotation(1), annotation(2, 8)])
    coco = Coco(tmp_path / "a", "val")
    same = pickle.loads(pickle.dumps(coco))
    assert same.objects(1).segmentations == coco.objects(1).segmentations == [POLYGON]
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert same.fingerprint() == coco.fingerprint() == Coco(tmp_path / "b", "val").fingerprint()
    others = {coco.fingerprint()}
    for annotations in (
        [annotation(1), annotation(2, 8, (1, 2, 10, 12.5))],
        [annotation(1), annotation(2, 8, category_id=90)],
        [annotation(1), annotation(2, 7)],
        [annotation(1), annotation(2, 8, iscrowd=1)],
    ):
        put_json(tmp_path / "b", {"images": [image(7), image(8)], "annotations": annotations, "categories": CATEGORIES})
        others.add(Coco(tmp_path / "b", "val").fingerprint())
    assert len(others) == 5


def test_image_of_another_size_or_broken(tmp_path):
    coco = Coco(put(tmp_path, [image(7)], [annotation(1)]), "val")
    Image.new("RGB", (48, 64)).save(coco.path(0))
    with pytest.raises(UserError, match=r"7\.png is 48 x 64 pixels, but .*instances_val2017\.json says 64 x 48 "):
        coco.image(0)
    coco.path(0).unlink()
    with pytest.raises(UserError, match=r"cannot read image .*7\.png"):
        coco.image(0)


NAN, HUGE = float("nan"), 10**400


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bbox": [1, 2, 3]}, r"annotation 5: 'bbox' must be four numbers .*, got \[1, 2, 3\]; correct or remove"),
        ({"bbox": [1, 2, NAN, 4]}, r"annotation 5: 'bbox' .* got \[1, 2, nan, 4\]"),
        ({"bbox": [1, 2, -3, 4]}, "annotation 5: 'bbox' .* the last two not negative"),
        ({"bbox": [1, 2, "3", 4]}, "annotation 5: 'bbox'"),
        ({"bbox": [1, 2, True, 4]}, "annotation 5: 'bbox'"),
        ({"bbox": [1, 2, HUGE, 4]}, "annotation 5: 'bbox'"),
        ({"bbox": None}, "annotation 5: 'bbox'"),
        ({"bbox": ...}, "annotation 5: 'bbox' must be four numbers .*, but it is missing"),
        ({"area": -1}, "annotation 5: 'area' must be a number of pixels, not negative, got -1"),
        ({"area": NAN}, "annotation 5: 'area'"),
        ({"area": ...}, "annotation 5: 'area' must be a number of pixels, not negative, but it is missing"),
        ({"iscrowd": 2}, "annotation 5: 'iscrowd' must be 0 or 1, got 2"),
        ({"iscrowd": "0"}, "annotation 5: 'iscrowd'"),
        ({"image_id": 8}, "annotation 5: 'image_id' must be the id of an image of this file, got 8"),
        ({"image_id": [7]}, "annotation 5: 'image_id'"),
        ({"category_id": 1}, "annotation 5: 'category_id' must be the id of a category of this file, got 1"),
        ({"category_id": ...}, "annotation 5: 'category_id' .* missing"),
        ({"id": 4}, "annotation at place 1, from 0: 'id' must be an id that no other annotation has, got 4"),
        ({"id": "5"}, "annotation at place 1, from 0: 'id' must be a whole number, got '5'"),
        ({"id": 2**64}, "annotation at place 1, from 0: 'id' must be a whole number"),
        ({"id": ...}, "annotation at place 1, from 0: 'id' must be a whole number, but it is missing"),
        ({"segmentation": [[1, 2, 3, 4]]}, "annotation 5: 'segmentation' must be a list of polygons"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "annotation 5: 'segmentation'"),
        ({"segmentation": [[1, 2, 3, 4, 5, NAN]]}, "annotation 5: 'segmentation'"),
        ({"segmentation": [[1, 2, 3, 4, 5, HUGE]]}, "annotation 5: 'segmentation'"),
        ({"segmentation": [[1, 2, 3, 4, 5, True]]}, "annotation 5: 'segmentation'"),
        ({"segmentation": [1, 2, 3, 4, 5, 6]}, "annotation 5: 'segmentation'"),
        ({"segmentation": "x"}, "annotation 5: 'segmentation'"),
        ({"segmentation": {"size": [64, 48], "counts": "x"}}, "annotation 5: 'segmentation' .* of the image's size"),
        ({"segmentation": {"size": [48, 64], "counts": [1]}}, "annotation 5: 'segmentation'"),
        ({"segmentation": {"size": [48, 64]}}, "annotation 5: 'segmentation'"),
        ({"segmentation": {"size": [48, 64], "counts": ["3072"]}}, "annotation 5: 'segmentation'"),
        ({"segmentation": {"size": [48, 64], "counts": "x"}}, "annotation 5: 'segmentation' .* of the image's size"),
        ({"segmentation": {"size": [48, 64], "counts": "00"}}, "annotation 5: 'segmentation'"),
        ({"segmentation": {"size": [48, 64], "counts": "é"}}, "annotation 5: 'segmentation'"),
    ],
)
def test_broken_annotations(tmp_path, changes, message):
    put_json(tmp_path, {"images": [image(7)], "annotations": [annotation(4), changed(annotation(5), changes)]}
             | {"categories": CATEGORIES})  # fmt: skip
    with pytest.raises(UserError, match=message) as caught:
        Coco(tmp_path, "val")
    assert str(caught.value).startswith(f"{tmp_path / 'annotations' / 'instances_val2017.json'}: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def changed(entry, changes):
    return {key: value for key, value in {**entry, **changes}.items() if value is not ...}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "image 8: 'width' must be a whole number of at least 1 pixel, got 0"),
        ({"height": 48.5}, "image 8: 'height' must be"),
        ({"height": True}, "image 8: 'height' must be"),
        ({"height": ...}, "image 8: 'height' must be .* missing"),
        ({"file_name": "../8.png"}, r"image 8: 'file_name' must be a file in the folder of images, got '\.\./8\.png'"),
        ({"file_name": "/etc/passwd"}, "image 8: 'file_name'"),
        ({"file_name": "C:\\8.png"}, "image 8: 'file_name'"),
        ({"file_name": "a\\..\\..\\8.png"}, "image 8: 'file_name'"),
        ({"file_name": "."}, "image 8: 'file_name'"),
        ({"file_name": ""}, "image 8: 'file_name'"),
        ({"file_name": "a\0b"}, "image 8: 'file_name'"),
        ({"file_name": "\ud800"}, "image 8: 'file_name'"),
        ({"file_name": 8}, "image 8: 'file_name'"),
        ({"file_name": ...}, "image 8: 'file_name' .* missing"),
        ({"id": 7}, "image at place 1, from 0: 'id' must be an id that no other image has, got 7"),
        ({"id": ...}, "image at place 1, from 0: 'id' must be a whole number, but it is missing"),
    ],
)
def test_broken_images(tmp_path, changes, message):
    images = [image(7), changed(image(8), changes)]
    put_json(tmp_path, {"images": images, "annotations": [annotation(4)], "categories": CATEGORIES})
    with pytest.raises(UserError, match=message):
        Coco(tmp_path, "val")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"instances_val2017\.json is no JSON \(Expecting.*\); get the file again or name another one"),
        ("[" * 100_000, "is no JSON .it is nested too deeply"),
        ("1" * 5000, "is no JSON"),
        ("[]", "has no list 'images'; expected a COCO file of instances"),
        ({"images": [image(7)], "categories": CATEGORIES}, "has no list 'annotations'"),
        ({"images": [image(7)], "annotations": [], "categories": CATEGORIES}, "has an empty list 'annotations'"),
        ({"images": {}, "annotations": []}, "has no list 'images'"),
        ({"images": [3]}, "has no list 'annotations'"),
        ({"categories": []}, "has an empty list 'categories'"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "category at place 1, from 0: 'id' must"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}, "category 2: 'name' must be a name that no"),
        ({"categories": [{"id": 1, "name": " "}]}, "category 1: 'name' must be text"),
        ({"categories": [{"id": 1}]}, "category 1: 'name' must be text, but it is missing"),
        ({"categories": ["a"]}, "category at place 0, from 0: expected an object with the fields of a category, got"),
    ],
)
def test_broken_files(tmp_path, content, message):
    if isinstance(content, dict) and list(content) == ["categories"]:
        content = {"images": [image(7)], "annotations": [annotation(4)], **content}
    put_json(tmp_path, content)
    with pytest.raises(UserError, match=message) as caught:
        Coco(tmp_path, "val")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path):
    put_json(tmp_path, "{}")
    (tmp_path / "annotations" / "instances_val2017.json").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UserError, match="is no JSON"):
        Coco(tmp_path, "val")


def test_entries_of_another_type(tmp_path):
    put_json(tmp_path, {"images": [image(7)], "annotations": [3], "categories": CATEGORIES})
    with pytest.raises(UserError, match="annotation at place 0, from 0: expected an object .* of an annotation, got 3"):
        Coco(tmp_path, "val")
