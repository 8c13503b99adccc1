"""Scenes of digits: what they are made of, boxes and masks that fit, a function of the seed, whole or not at all."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

import make_scenes as make_scenes_script
from src.data import scenes as scenes_module
from src.data.coco import Coco
from src.data.digits import Digits
from src.data.scenes import LEAST_INK, LEAST_VISIBLE, MAX_DIGITS, MAX_OVERLAP, Scenes, ink, make_scenes, run_lengths
from src.errors import TemporaryError, UserError

SMALL = {"size": 96, "num_train": 3, "num_val": 2}


@pytest.fixture(scope="module")
def train():
    return Scenes("train", 128, 0)


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def iou(one, other):
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)


def test_scenes_are_as_they_say(train):
    counts, labels, ious = [], [], []
    for index in range(40):
        scene = train.scene(index)
        assert (scene.pixels.shape, scene.pixels.dtype) == ((128, 128, 3), np.uint8)
        assert len(scene.labels) == len(scene.masks) == len(scene.boxes)
        assert scene.masks.sum(axis=0).max() == 1  # none overlap
        counts.append(len(scene.labels))
        labels += scene.labels.tolist()
        for mask, (x0, y0, x1, y1) in zip(scene.masks, scene.boxes.tolist(), strict=True):
            assert 0 <= x0 < x1 <= 128 and 0 <= y0 < y1 <= 128
            inside = mask[y0:y1, x0:x1]
            assert inside.sum() == mask.sum() > 20
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
        ious += [iou(a, b) for i, a in enumerate(scene.boxes) for b in scene.boxes[:i]]
    assert set(counts) == set(range(1, MAX_DIGITS + 1)) and set(labels) == set(range(10))
    assert 0.02 < max(ious) < MAX_OVERLAP


def test_digits_stand_out(train):
    for index in range(20):
        scene = train.scene(index)
        luma = scene.pixels @ scenes_module.LUMA
        for mask, (x0, y0, x1, y1) in zip(scene.masks, scene.boxes.tolist(), strict=True):
            around = np.ones(mask.shape, bool)
            around[y0:y1, x0:x1] = False
            around[: max(0, y0 - 8)] = around[y1 + 8 :] = around[:, : max(0, x0 - 8)] = around[:, x1 + 8 :] = False
            assert luma[mask].std() < 50
            assert abs(np.median(luma[mask]) - np.median(luma[around])) > 15


def test_covered_digits_are_mostly_visible(train, monkeypatch):
    """With a bound of 1 nothing would be covered at all, so the bound is what limits it."""
    monkeypatch.setattr(scenes_module, "ATTEMPTS", 1)
    monkeypatch.setattr(scenes_module, "MAX_OVERLAP", 1.1)
    found = {}
    for least in (0.0, LEAST_VISIBLE, 1.0):
        monkeypatch.setattr(scenes_module, "LEAST_VISIBLE", least)
        found[least] = sum(len(train.scene(index).labels) for index in range(30))
    assert found[0.0] > found[LEAST_VISIBLE] > found[1.0]


def test_splits_share_neither_digits_nor_photographs():
    from sklearn.datasets import load_sample_images

    train, val = Scenes("train", 96, 0), Scenes("val", 96, 0)
    assert (len(train._digits), len(val._digits)) == (len(Digits("train")), len(Digits("val")))
    for photo, left, right in zip(load_sample_images().images, train._photos, val._photos, strict=True):
        assert np.array_equal(np.concatenate([left, right], axis=1), photo)
        assert left.shape == right.shape == (427, 320, 3)


def test_a_function_of_what_it_is_named_by(train):
    scene = train.scene(7)
    again = Scenes("train", 128, 0).scene(7)
    assert all(np.array_equal(getattr(scene, name), getattr(again, name)) for name in ("pixels", "masks", "labels"))
    others = [Scenes("train", 128, 1).scene(7), Scenes("val", 128, 0).scene(7), train.scene(8)]
    assert not any(np.array_equal(other.pixels, scene.pixels) for other in others)
    numbers = [[len(scenes.scene(i).labels) for i in range(12)] for scenes in (train, Scenes("val", 128, 0))]
    assert numbers[0] != numbers[1]


@pytest.mark.parametrize("side", [20, 64])
def test_ink(side):
    """A 0: ink in a ring, none in the middle, none at the border."""
    digits = Digits("train")
    zero = next(digits[index][0] for index in range(len(digits)) if digits.label(index) == 0)
    values = ink(zero, side)
    assert values.shape == (side * 5 // 4,) * 2 and (values.min(), values.max()) == (0, 1)
    middle = len(values) // 2
    assert values[middle, middle] < LEAST_INK and not values[0].any() and not values[:, -1].any()
    assert (values[middle, :middle] > LEAST_INK).any() and (values[middle, middle:] > LEAST_INK).any()


def test_run_lengths_by_hand():
    """Column by column: 0 1 | 1 1 | 0 0, and one that begins with ink."""
    assert run_lengths(np.array([[0, 1, 0], [1, 1, 0]], bool)) == [1, 3, 2]
    assert run_lengths(np.array([[1], [0]], bool)) == [0, 1, 1]
    assert run_lengths(np.zeros((2, 2), bool)) == [4] and run_lengths(np.ones((2, 2), bool)) == [0, 4]


def test_files_are_the_scenes(tmp_path):
    assert make_scenes(tmp_path / "deep" / "scenes", **SMALL, seed=3)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["scenes"]
    for split, number in (("train", 3), ("val", 2)):
        coco, scenes = Coco(tmp_path / "deep" / "scenes", split, for_training=True), Scenes(split, 96, 3)
        assert len(coco) == number and coco.describe_ignored() is None
        assert coco.classes == Digits.classes and coco.category_ids == list(range(1, 11))
        for index in range(number):
            scene, objects = scenes.scene(index), coco.objects(index)
            assert np.array_equal(np.asarray(coco.image(index)), scene.pixels)
            assert np.array_equal(objects.boxes, scene.boxes) and np.array_equal(objects.labels, scene.labels)
            assert objects.area.tolist() == scene.masks.sum(axis=(1, 2)).tolist() and not objects.is_crowd.any()
            for code, mask in zip(objects.segmentations, scene.masks, strict=True):
                values = np.repeat(np.arange(len(code["counts"])) % 2, code["counts"])
                assert np.array_equal(values.reshape(96, 96, order="F"), mask)


def test_existing_folders(tmp_path):
    output = tmp_path / "scenes"
    output.mkdir()
    assert make_scenes(output, **SMALL)
    before = digest(output)
    assert not make_scenes(output, **SMALL)
    assert make_scenes(tmp_path / "more", **SMALL) and digest(tmp_path / "more") == before
    refused = "scenes exists and is not what would be written; remove it or name another folder"
    with pytest.raises(UserError, match=refused):
        make_scenes(output, **SMALL, seed=1)
    (output / "notes.txt").touch()
    with pytest.raises(UserError, match=refused):
        make_scenes(output, **SMALL)
    (output / "notes.txt").unlink()
    assert digest(output) == before
    (tmp_path / "file").touch()
    (tmp_path / "mine" / "a").mkdir(parents=True)
    for name in ("file", "mine"):
        with pytest.raises(UserError, match=f"{name} exists and is not what would be written"):
            make_scenes(tmp_path / name, **SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mine", "more", "scenes"]


def test_nothing_is_left_of_what_fails(tmp_path, monkeypatch):
    def full(self, path, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(TemporaryError, match=r"cannot write .*scenes: No space left on device"):
        make_scenes(tmp_path / "scenes", **SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 95}, "the side of a scene must be from 96 to 320 pixels, got 95"),
        ({"size": 321}, "the side of a scene must be"),
        ({"num_val": 0}, "the number of val scenes must be at least 1, got 0"),
        ({"seed": -1}, "seed must not be negative, got -1"),
    ],
)
def test_wrong_arguments(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        make_scenes(tmp_path / "scenes", **{**SMALL, **changes})
    assert not (tmp_path / "scenes").exists()


def test_script(tmp_path, capsys):
    options = [str(tmp_path / "scenes"), "--size", "128", "--train", "2", "--val", "1", "--seed", "5"]
    for state in ("", "already there, the same: "):
        make_scenes_script.main(options)
        written, following = capsys.readouterr().out.splitlines()
        content = f"{state}2 training and 1 validation scenes of 128 x 128 pixels"
        assert written == f"written: {tmp_path / 'scenes'} ({content})"
        assert following.endswith(f"config/demo/retinanet_scenes.yaml --data {tmp_path / 'scenes'}")
    content = json.loads((tmp_path / "scenes" / "annotations" / "instances_val2017.json").read_text())
    assert "val, seed 5" in content["info"]["description"] and len(content["images"]) == 1
    with pytest.raises(UserError, match="make_scenes.py: .* a whole number from 96 to 320, got 400; see --help"):
        make_scenes_script.main([str(tmp_path / "x"), "--size", "400"])
