"""Masks by deploy/run_detector.py, with a network that can be checked by eye in the place of an exported file."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks.cases.case import Case
from src.detection.paste_masks import paste_masks
from src.detection.run_lengths import decode

ROOT = Path(__file__).resolve().parents[1]
MODEL = {
    "classes": ["cat", "dog"],
    "canvas": [64, 128],
    "short_side": 64,
    "long_side": 128,
    "mean": [0.5] * 3,
    "std": [0.5] * 3,
}


class Network:
    """Finds a dog in the whole image, a cat in its left half, and an improbable object; masks are upper halves."""

    outputs = ("boxes", "scores", "labels", "counts", "masks")

    def __init__(self, file):
        inputs = {"images": {"shape": [1, 3, 64, 128]}}
        self.sidecar = {"model": MODEL, "inputs": inputs, "outputs": dict.fromkeys(self.outputs)}

    def run(self, images, shapes, scales):
        (height, width), (x, y) = shapes.asnumpy()[0], scales.asnumpy()[0]
        boxes = np.float32([[[0, 0, width / x, height / y], [0, 0, width / x / 2, height / y], [0, 0, 1, 1], [0] * 4]])
        masks = np.zeros((1, 4, 28, 28), np.float32)
        masks[:, :3, :14] = 1
        scores, labels, counts = np.float32([[0.9, 0.8, 0.2, 0]]), np.int32([[1, 0, 1, -1]]), np.int32([3])
        arrays = (boxes, scores, labels, counts, masks)[: len(self.outputs)]
        return tuple(SimpleNamespace(asnumpy=lambda array=array: array) for array in arrays)


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "deploy")
    module = importlib.import_module("run_detector")
    monkeypatch.setattr(module, "Network", Network)
    yield module
    for name in ("run_detector", "run_mindir"):
        sys.modules.pop(name, None)


def run(script, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["run_detector.py", "det.mindir", *arguments])
    script.main()


def test_masks_are_written(script, monkeypatch, capsys):
    Path("in").mkdir()
    for name, size in (("wide.png", (40, 20)), ("high.jpg", (30, 60)), ("small.png", (24, 12))):
        Image.new("RGB", size).save(f"in/{name}")
    images = ["in/wide.png", "in/high.jpg", "in/small.png"]
    run(script, monkeypatch, *images, "--masks", "out/masks")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["in/wide.png", "  0.9000  dog  0.0 0.0 40.0 20.0", "  0.8000  cat  0.0 0.0 20.0 20.0"]
    assert sorted(path.name for path in Path("out/masks").iterdir()) == [
        "high.jpg.masks.png",
        "small.png.masks.png",
        "wide.png.masks.png",
    ]
    for image in images:
        with Image.open(image) as original, Image.open(f"out/masks/{Path(image).name}.masks.png") as picture:
            width, height = original.size
            assert picture.size == (width, height) and picture.mode == "P"
            expected = np.zeros((height, width), int)
            expected[: height // 2] = 1  # the better one is above
            np.testing.assert_array_equal(np.asarray(picture), expected)
            colours = np.array(picture.getpalette()).reshape(-1, 3)
            assert colours[0].tolist() == [0, 0, 0] and (colours[1:].max(axis=1) == 255).all()
    run(script, monkeypatch, "in/wide.png", "--masks", "other", "--score_threshold", "0.95")
    assert not np.asarray(Image.open("other/wide.png.masks.png")).any()


def test_without_the_option_nothing_is_written(script, monkeypatch, capsys):
    Image.new("RGB", (40, 20)).save("wide.png")
    run(script, monkeypatch, "wide.png")
    assert len(capsys.readouterr().out.splitlines()) == 3 and [path.name for path in Path().iterdir()] == ["wide.png"]


def test_the_better_object_is_above(script):
    whole = np.ones((3, 28, 28), np.float32)
    boxes = np.float32([[2, 2, 6, 6], [0, 0, 4, 10], [0, 0, 10, 10]])
    script.write_masks(Path("a.png"), whole, boxes, (10, 10))
    numbers = np.asarray(Image.open("a.png"))
    assert (numbers[2:6, 2:6] == 1).all() and numbers[0, 3] == 2 and numbers[0, 4] == numbers[9, 9] == 3
    script.write_masks(Path("b.png"), whole[:0], boxes[:0], (10, 10))
    assert not np.asarray(Image.open("b.png")).any()
    script.write_masks(Path("c.png"), np.concatenate([whole] * 100), np.concatenate([boxes] * 100), (10, 10))
    assert set(np.unique(np.asarray(Image.open("c.png")))) == {1, 2, 3}


def test_pixels_are_those_of_the_project(script):
    case = Case.read(ROOT / "tests/reference/detection/mask_paste.json")
    values = 1 / (1 + np.exp(-case.arrays["mask_logits"][:, 0]))
    boxes = np.concatenate([case.arrays["original_scale/boxes"], np.float32([[5.2, 5, 5.2, 9], [-9, -9, -1, -1]])])
    values = np.concatenate([values, values[:2]])
    for value, box, code in zip(values, boxes, paste_masks(values, boxes, (75, 100)), strict=True):
        np.testing.assert_array_equal(script.paste(value, box, (75, 100)), decode(code))


def test_refused(script, monkeypatch):
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Image.new("RGB", (40, 20)).save(f"{folder}/x.png")
    with pytest.raises(ValueError, match="two images have the same name"):
        run(script, monkeypatch, "a/x.png", "b/x.png", "--masks", "out")
    monkeypatch.setattr(Network, "outputs", Network.outputs[:4])
    with pytest.raises(ValueError, match="^det.mindir gives no masks: leave --masks out$"):
        run(script, monkeypatch, "a/x.png", "--masks", "out")
    run(script, monkeypatch, "a/x.png", "b/x.png")
    assert not Path("out").exists()


def test_help(script, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(script, monkeypatch, "--help")
    assert "DIR/IMAGE.masks.png" in "".join(capsys.readouterr().out.split())
