"""Exported detectors with masks: equal to the network, described, run by predict.py and deploy/run_detector.py."""

import json
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
from src.detection import create_detector
from src.devices.device import set_up_device
from src.errors import UserError
from src.export.detector_exporter import DetectorExporter
from src.export.detector_file import OUTPUTS, load_detector, read_detector_sidecar
from src.export.exported_file import load_exported
from src.export.exporter import Form
from src.weights.checkpoint import read_checkpoint, save_checkpoint
from src.weights.detector_card import DetectorCard
from src.weights.loading import load_weights
from tests.tiny_detectors import TINY_BACKBONE

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


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with net.ckpt, whose scores and masks are not all alike, two images, and the file of its export."""
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
        export_script.main(["--config", "net.yaml", "--checkpoint", "net.ckpt", "--file_name", "det"])
    return folder


@pytest.fixture
def folder(exported, tmp_path):
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_what_is_written(folder):
    assert sorted(path.name for path in folder.glob("det*")) == ["det.mindir", "det.mindir.json"]
    description = json.loads((folder / "det.mindir.json").read_text())
    assert list(description["outputs"]) == [*OUTPUTS, "masks"]
    masks = description["outputs"]["masks"]
    assert masks["shape"] == [1, 100, 28, 28] and masks["dtype"] == "float32" and description["mask_threshold"] == 0.5
    assert "pixel (row, column) of the image at (column + 0.5, row + 0.5)" in masks["meaning"]
    assert description["candidates"] == 1000 and "anchors" not in description
    comparison = description["comparison_with_network"]
    assert comparison["largest_difference"] <= 1e-4 and "scores and masks, of " in comparison["measure"]
    assert " of 0 detections" not in comparison["measure"]
    assert read_detector_sidecar(folder / "det.mindir").card == CARD


def test_the_file_gives_what_its_description_says(folder):
    _, run = load_detector(Path("det.mindir"))
    rng, sizes = np.random.default_rng(1), np.ones((1, 2), np.float32)
    outputs = run(rng.standard_normal((1, 3, 64, 64), np.float32), 64 * sizes, sizes)
    described = json.loads(Path("det.mindir.json").read_text())["outputs"].values()
    assert [(list(x.shape), str(x.dtype)) for x in outputs] == [(own["shape"], own["dtype"]) for own in described]
    count = outputs[3][0]
    masks = outputs[4][0, :count]
    assert count > 0 and 0 <= masks.min() < 0.5 <= masks.max() <= 1


def test_predictions_and_masks_of_the_file_are_those_of_the_checkpoint_and_of_the_script(folder):
    def predict(*source):
        images = ["high.png", "wide.png"]
        predict_script.main([*images, "--config", "net.yaml", "--json", "x.json", "--draw", "drawn", *source])
        return json.loads(Path("x.json").read_text())["images"]

    of_checkpoint, of_file = predict("--checkpoint", "net.ckpt"), predict("--model_file", "det.mindir")
    for name in ("run_detector.py", "run_mindir.py"):
        shutil.copy(DEPLOY / name, name)
    command = [sys.executable, "run_detector.py", "det.mindir", "high.png", "wide.png", "--masks", "masks"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    partly = 0
    for one, other in zip(of_checkpoint, of_file, strict=True):
        assert [d["label"] for d in one["detections"]] == [d["label"] for d in other["detections"]]
        assert one["detections"] and [d["segmentation"]["size"] for d in one["detections"]] == [
            [one["height"], one["width"]]
        ] * len(one["detections"])
        expected = np.zeros((one["height"], one["width"]), int)
        pairs = list(enumerate(zip(one["detections"], other["detections"], strict=True), start=1))
        for number, (mine, theirs) in reversed(pairs):
            np.testing.assert_allclose(mine["box"], theirs["box"], atol=0.02)
            pixels, same = (coco_mask.decode(d["segmentation"]).astype(bool) for d in (mine, theirs))
            assert (pixels != same).mean() < 0.002
            expected[pixels] = number
            x0, y0, x1, y1 = mine["box"]
            partly += 0.05 < pixels.sum() / ((x1 - x0) * (y1 - y0)) < 0.95
        written = np.asarray(Image.open(f"masks/{Path(one['file']).name}.masks.png"))
        assert written.shape == expected.shape and (written != expected).mean() < 0.005
    assert partly > 0
    lines = [line for line in done.stdout.splitlines() if line.startswith("  ")]
    assert len(lines) == sum(len(image["detections"]) for image in of_checkpoint)
    assert sorted(path.name for path in Path("drawn").iterdir()) == [
        "high.png.prediction.png",
        "wide.png.prediction.png",
    ]


class _Stopped(Exception):
    pass


@pytest.mark.parametrize(
    "options",
    [
        ["--file_format", "ONNX"],
        ["--file_format", "MINDIR", "ONNX"],
        ["--file_format", "ONNX", "--audit"],
    ],
)
def test_onnx_is_refused_before_anything_is_computed(folder, options, monkeypatch):
    def stop(*_, **__):
        raise _Stopped

    for name in ("src.export.detector.set_up_device", "src.portability.audit.set_up_device"):
        monkeypatch.setattr(name, stop)
    before = sorted(path.name for path in folder.iterdir())
    arguments = ["--config", "net.yaml", "--file_name", "new", *options]
    for more in (["--checkpoint", "net.ckpt"], *([[]] if "--audit" in options else [])):
        with pytest.raises(UserError) as found:
            export_script.main([*arguments, *more])
        assert str(found.value) == (
            "--file_format ONNX: mask_rcnn_ptnt_ti is a Mask R-CNN, and detectors with two stages are exported as "
            "MINDIR: give --file_format MINDIR"
        )
    assert sorted(path.name for path in folder.iterdir()) == before


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
    net = create_detector(CARD.model, **CARD.detector_arguments())
    load_weights(net, read_checkpoint("net.ckpt"))
    with pytest.raises(UserError, match="differs from the network by 1.0e-03 where 1e-04 is allowed"):
        DetectorExporter(net, CARD).write(Path("new.mindir"), Form("MINDIR", 1))
    assert not list(folder.glob("new*"))


def test_an_onnx_file_of_two_stages_is_not_read(folder):
    for ending in ("", ".json"):
        shutil.copy(f"det.mindir{ending}", f"det.onnx{ending}")
    with pytest.raises(UserError, match="detectors with two stages are exported as MINDIR"):
        read_detector_sidecar(folder / "det.onnx")
