"""Exported detectors with masks: equal to the network, described, run by predict.py and the scripts of deploy/."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import export as export_script
import predict as predict_script
from src.config import Config
from src.detection import create_detector
from src.devices.device import set_up_device
from src.errors import UserError
from src.export.detector_exporter import DetectorExporter
from src.export.detector_file import OUTPUTS, load_detector, read_detector_sidecar
from src.export.exported_file import load_exported
from src.export.exporter import Form
from src.export.onnx_session import load_onnx
from src.weights.checkpoint import read_checkpoint, save_checkpoint
from src.weights.detector_card import DetectorCard
from src.weights.loading import load_weights
from tests.tiny_detectors import TINY_BACKBONE

pytestmark = pytest.mark.usefixtures("equal_graphs")

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
TINY = {
    "table_size": 64,
    "anchor_scale": 4.0,
    "fpn_channels": 8,
    "fc_channels": 16,
    "mask_convs": 1,
    "proposals": 20,
    "regions": 16,
    "window": 16,
    "backbone": TINY_BACKBONE,
}
CARD = DetectorCard("mask_rcnn_ptnt_ti", TINY, ["cat", "狗"], [3, 8], (64, 64), 48, 64, (0.5,) * 3, (0.5,) * 3)
SIZES = {"wide.png": (120, 60), "high.png": (50, 100)}
FORMATS = ("MINDIR", "ONNX")
FILES = ("det.mindir", "det.onnx")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with net.ckpt, whose scores and masks are not all alike, two images, and the files of its export."""
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        set_up_device("CPU", 1, True)
        net = create_detector(CARD.model, **CARD.detector_arguments())
        rng, head = np.random.default_rng(0), net.roi_head
        for cell, deviation in (
            (head.bbox_head.fc_cls, 1.0),
            (head.bbox_head.fc_reg, 0.3),
            (head.mask_head.conv_logits, 4),
        ):
            cell.weight.set_data(ms.Tensor(rng.normal(0, deviation, cell.weight.shape).astype(np.float32)))
        save_checkpoint("net.ckpt", net.get_parameters(), CARD)
        for name, (width, height) in SIZES.items():
            Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(name)
        Path("net.yaml").write_text("model: {name: mask_rcnn_ptnt_ti}\ndata: {source: coco, workers: 0}\n")
        export_script.main(
            ["--config", "net.yaml", "--checkpoint", "net.ckpt", "--file_name", "det", "--file_format", *FORMATS]
        )
    return folder


@pytest.fixture
def folder(exported, tmp_path):
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_what_is_written(name, folder):
    assert sorted(path.name for path in folder.glob("det*")) == sorted(
        f"{x}{end}" for x in FILES for end in ("", ".json")
    )
    description, is_onnx = json.loads(Path(f"{name}.json").read_text()), name == "det.onnx"
    assert list(description["inputs"]) == ["images", "shapes", "scales"]
    assert list(description["outputs"]) == [*OUTPUTS, "masks"]
    masks = description["outputs"]["masks"]
    assert masks["shape"] == [None if is_onnx else 1, 100, 28, 28] and masks["dtype"] == "float32"
    assert "pixel (row, column) of the image at (column + 0.5, row + 0.5)" in masks["meaning"]
    assert description["mask_threshold"] == 0.5 and ("opset" in description) == is_onnx
    assert description["candidates"] == 1000 and "anchors" not in description
    comparison = description["comparison_with_network"]
    assert comparison["largest_difference"] <= (2e-5 if is_onnx else 1e-4)
    assert comparison["batch_sizes"] == ([1, 2] if is_onnx else [1])
    if is_onnx:
        number, total = re.fullmatch(
            r".*, scores and masks, of the (\d+) of (\d+) detections in both", comparison["measure"]
        ).groups()
        assert number == total != "0"
    else:
        assert "scores and masks, of " in comparison["measure"] and " of 0 detections" not in comparison["measure"]
    file = read_detector_sidecar(folder / name)
    assert (file.card, file.choice, file.batch_size) == (CARD, None, None if is_onnx else 1)


@pytest.mark.parametrize("name", FILES)
def test_the_file_gives_what_its_description_says(name, folder):
    _, run = load_detector(Path(name))
    rng, sizes = np.random.default_rng(1), np.ones((1, 2), np.float32)
    outputs = run(rng.standard_normal((1, 3, 64, 64), np.float32), 64 * sizes, sizes)
    described = json.loads(Path(f"{name}.json").read_text())["outputs"].values()
    assert [(list(x.shape)[1:], str(x.dtype)) for x in outputs] == [
        (own["shape"][1:], own["dtype"]) for own in described
    ]
    count = outputs[3][0]
    masks = outputs[4][0, :count]
    assert count > 0 and 0 <= masks.min() < 0.5 <= masks.max() <= 1


@pytest.mark.parametrize("name", FILES)
def test_a_description_with_too_few_labels(name, folder):
    path, model = Path(f"{name}.json"), {**CARD.to_dict(), "classes": ["cat"], "category_ids": [3]}
    path.write_text(json.dumps({**json.loads(path.read_text()), "model": model}))
    _, run = load_detector(Path(name))
    images, sizes = np.random.default_rng(1).standard_normal((1, 3, 64, 64), np.float32), np.ones((1, 2), np.float32)
    with pytest.raises(UserError, match=f"^{name} finds label number 2, and its description has 1; export again$"):
        run(images, 64 * sizes, sizes)


def test_a_file_that_takes_other_arrays(folder):
    with pytest.raises(
        UserError, match="^det.onnx takes images, shapes, scales, and its description speaks of 1 array;"
    ):
        load_onnx("det.onnx")(np.zeros((1, 3, 64, 64), np.float32))


IMAGES = ["high.png", "wide.png"]


def predict(*source):
    predict_script.main([*IMAGES, "--config", "net.yaml", "--json", "x.json", "--draw", "drawn", *source])
    return json.loads(Path("x.json").read_text())["images"]


def run_script(folder, file, script, *more):
    """The script's lines of boxes, and its files of masks, from a folder where there is nothing of this project."""
    alone = folder / "alone" / script
    alone.mkdir(parents=True)
    for path in (DEPLOY / script, *(DEPLOY / name for name in more), *folder.glob("det*"), *map(Path, IMAGES)):
        shutil.copy(path, alone)
    command = [sys.executable, script, file, *IMAGES, "--masks", "masks"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=alone)
    assert done.returncode == 0, done.stderr
    masks = [np.asarray(Image.open(alone / "masks" / f"{name}.masks.png")) for name in IMAGES]
    return [line for line in done.stdout.splitlines() if line.startswith("  ")], masks


def test_predictions_and_masks_of_the_files_are_those_of_the_checkpoint_and_of_the_scripts(folder):
    of_checkpoint, partly = predict("--checkpoint", "net.ckpt"), 0
    for file, *scripts in (
        ("det.mindir", "run_detector.py", "run_mindir.py"),
        ("det.onnx", "run_detector_onnx.py"),
    ):
        of_file = predict("--model_file", file)
        lines, written = run_script(folder, file, *scripts)
        assert len(lines) == sum(len(image["detections"]) for image in of_checkpoint)
        for one, other, picture in zip(of_checkpoint, of_file, written, strict=True):
            size = [one["height"], one["width"]]
            assert [d["label"] for d in one["detections"]] == [d["label"] for d in other["detections"]]
            assert one["detections"] and all(d["segmentation"]["size"] == size for d in one["detections"])
            expected = np.zeros(size, int)
            pairs = list(enumerate(zip(one["detections"], other["detections"], strict=True), start=1))
            for number, (mine, theirs) in reversed(pairs):
                np.testing.assert_allclose(mine["box"], theirs["box"], atol=0.02)
                assert mine["score"] == pytest.approx(theirs["score"], abs=2e-5)  # of five digits
                pixels, same = (coco_mask.decode(d["segmentation"]).astype(bool) for d in (mine, theirs))
                assert (pixels != same).mean() < 0.002
                expected[pixels] = number
                x0, y0, x1, y1 = mine["box"]
                partly += 0.05 < pixels.sum() / ((x1 - x0) * (y1 - y0)) < 0.95
            assert picture.shape == expected.shape and (picture != expected).mean() < 0.005
    assert partly > 0
    assert sorted(path.name for path in Path("drawn").iterdir()) == [f"{name}.prediction.png" for name in IMAGES]


def test_other_masks_in_onnx_than_the_networks_are_no_export(folder, monkeypatch):
    def load_changed(path):
        def changed(*inputs):
            *outputs, masks = load_exported(path)(*inputs)
            return (*outputs, masks + np.float32(1e-3))

        return changed

    monkeypatch.setattr("src.export.detector_exporter.load_exported", load_changed)
    net = create_detector(CARD.model, **CARD.detector_arguments())
    load_weights(net, read_checkpoint("net.ckpt"))
    with pytest.raises(
        UserError, match="finds 0 of [0-9]+ detections as the network does, within 1e-04, where 90% must"
    ):
        DetectorExporter(net, CARD).write(Path("new.onnx"), Form("ONNX", 1))
    assert not list(folder.glob("new*"))


def test_other_masks_than_the_networks_are_no_export(folder, monkeypatch):
    """What is compared is the file: here one whose masks are a little off."""

    def load_changed(path, key=None):
        run = load_exported(path, key)

        def changed(*inputs):
            *outputs, masks = run(*inputs)
            return (*outputs, masks + np.float32(1e-3))

        return changed

    monkeypatch.setattr("src.export.detector_exporter.load_exported", load_changed)
    monkeypatch.setattr(
        "src.export.detector_exporter.write_with_mindspore",
        lambda _cell, _inputs, file, _form: shutil.copy(folder / "det.mindir", file),
    )
    ms.set_seed(Config().seed)  # as the command does it: then the graph is one that is there
    net = create_detector(CARD.model, **CARD.detector_arguments())
    load_weights(net, read_checkpoint("net.ckpt"))
    with pytest.raises(UserError, match="differs from the network by 1.0e-03 where 1e-04 is allowed"):
        DetectorExporter(net, CARD).write(Path("new.mindir"), Form("MINDIR", 1))
    assert not list(folder.glob("new*"))
