"""Exported detectors: loaded back, equal to the network, described, run by predict.py and deploy/run_detector.py."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from PIL import Image

import export as export_script
import predict as predict_script
from src.detection import create_detector
from src.devices.device import set_up_device
from src.errors import UserError
from src.export.detector_exporter import DetectorExporter
from src.export.detector_file import OUTPUTS, load_detector, read_detector_sidecar
from src.export.exporter import Comparison
from src.weights.checkpoint import save_checkpoint
from src.weights.detector_card import DetectorCard
from tests.tiny_detectors import TINY_BACKBONE

pytestmark = pytest.mark.usefixtures("equal_graphs")

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
TINY = {
    "table_size": 64,
    "fpn_channels": 8,
    "stacked_convs": 1,
    "backbone": TINY_BACKBONE,
}
CARD = DetectorCard("retinanet_ptnt_ti", TINY, ["cat", "狗"], [3, 8], (64, 128), 64, 128, (0.5,) * 3, (0.5,) * 3)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with net.ckpt, whose scores are not all tiny, and the files of its export."""
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        set_up_device("CPU", 1, True)
        net = create_detector(CARD.model, **CARD.detector_arguments())
        weight = net.bbox_head.retina_cls.weight
        rng = np.random.default_rng(0)
        weight.set_data(ms.Tensor(rng.normal(0, 0.5, weight.shape).astype(np.float32)))
        net.bbox_head.retina_cls.bias.set_data(ms.ops.zeros(net.bbox_head.retina_cls.bias.shape))
        save_checkpoint("net.ckpt", net.get_parameters(), CARD)
        for name, size in (("wide", (120, 60)), ("high", (50, 100))):
            Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(f"{name}.png")
        Path("net.yaml").write_text("model: {name: retinanet_ptnt_ti}\ndata: {source: coco, workers: 0}\n")
        export_script.main(["--config", "net.yaml", "--checkpoint", "net.ckpt", "--file_name", "det"])
    return folder


@pytest.fixture
def folder(exported, tmp_path):
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_what_is_written(folder):
    assert sorted(path.name for path in folder.glob("det*")) == [
        "det.mindir",
        "det.mindir.json",
        "det_portrait.mindir",
        "det_portrait.mindir.json",
    ]
    for name, canvas in (("det", [64, 128]), ("det_portrait", [128, 64])):
        description = json.loads((folder / f"{name}.mindir.json").read_text())
        assert description["canvas"] == canvas and description["inputs"]["images"]["shape"] == [1, 3, *canvas]
        assert list(description["outputs"]) == list(OUTPUTS) and description["model"]["classes"] == ["cat", "狗"]
        assert description["comparison_with_network"]["largest_difference"] <= 1e-4
        assert description["score_threshold"] == 0.05 and "bilinear" in description["model"]["resize"]
    assert read_detector_sidecar(folder / "det.mindir").card == CARD


def test_files_of_another_network_are_replaced_on_demand_only_and_together(folder, monkeypatch):
    net = create_detector(CARD.model, **CARD.detector_arguments())
    save_checkpoint("other.ckpt", net.get_parameters(), CARD)
    before = {path: path.read_bytes() for path in folder.glob("det*")}
    options = ["--config", "net.yaml", "--checkpoint", "other.ckpt", "--file_name", "det"]
    message = r"^det\.mindir exists already and is another export \(it differs in checkpoint\): give --overwrite"
    with pytest.raises(UserError, match=message):
        export_script.main(options)

    def fail_for_portrait(self, file, canvas, form):
        if canvas == (128, 64):
            raise UserError("no")
        file.write_bytes(b"another network")
        return Comparison(0.0, 1e-4, (1,), "nothing", "none")

    monkeypatch.setattr(DetectorExporter, "_write_mindir", fail_for_portrait)
    with pytest.raises(UserError, match="^no$"):
        export_script.main([*options, "--overwrite"])
    assert {path: path.read_bytes() for path in folder.glob("det*")} == before


IMAGES = ["high.png", "wide.png"]


def predict(*source):
    predict_script.main([*IMAGES, "--config", "net.yaml", "--json", "found.json", *source])
    return json.loads(Path("found.json").read_text())["images"]


def test_predictions_from_the_file_are_those_of_the_checkpoint(folder):
    of_checkpoint, of_file = predict("--checkpoint", "net.ckpt"), predict("--model_file", "det.mindir")
    assert [len(image["detections"]) > 0 for image in of_checkpoint] == [True, True]
    for one, other in zip(of_checkpoint, of_file, strict=True):
        assert [d["label"] for d in one["detections"]] == [d["label"] for d in other["detections"]]
        for mine, theirs in zip(one["detections"], other["detections"], strict=True):
            np.testing.assert_allclose(mine["box"], theirs["box"], atol=0.02)
            assert mine["score"] == pytest.approx(theirs["score"], abs=1e-5)


def run_script(*arguments):
    command = [sys.executable, "run_detector.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_script_alone_finds_what_predict_finds(folder):
    for name in ("run_detector.py", "run_mindir.py"):
        shutil.copy(DEPLOY / name, name)
    done = run_script("det.mindir", *IMAGES)
    assert done.returncode == 0, done.stderr
    found, name = {}, None
    for line in done.stdout.splitlines():
        if line.startswith("  "):
            score, label, *box = line.split()
            found[name].append((label, float(score), [float(value) for value in box]))
        else:
            name = line
            found[name] = []
    for image in predict("--checkpoint", "net.ckpt"):
        expected = image["detections"]
        assert [label for label, *_ in found[image["file"]]] == [d["label"] for d in expected] and expected
        for (_, score, box), detection in zip(found[image["file"]], expected, strict=True):
            assert score == pytest.approx(detection["score"], abs=2e-4)
            assert box == pytest.approx(detection["box"], abs=0.11)
    Path("det.mindir").write_bytes(b"x")
    done = run_script("det.mindir", "wide.png")
    assert done.returncode == 1 and done.stderr.startswith("error: det.mindir is damaged") and done.stdout == ""


def test_images_of_the_other_orientation_need_its_file(folder):
    (folder / "det_portrait.mindir").unlink()
    _, run = load_detector(Path("det.mindir"))
    sizes = np.ones((1, 2), np.float32)
    outputs = run(np.zeros((1, 3, 64, 128), np.float32), 64 * sizes, sizes)
    described = json.loads(Path("det.mindir.json").read_text())["outputs"].values()
    assert [(list(x.shape), str(x.dtype)) for x in outputs] == [(own["shape"], own["dtype"]) for own in described]
    with pytest.raises(UserError, match="for the others det_portrait.mindir must lie beside it"):
        run(np.zeros((1, 3, 128, 64), np.float32), 64 * sizes, sizes)


@pytest.mark.parametrize(
    "options,message",
    [
        (["--file_format", "AIR"], "detectors are exported as MINDIR and ONNX"),
        (["--precision", "float16"], "detectors are exported in float32"),
        (["--pixels"], "detectors take normalised images"),
        (["--stages", "1"], "detectors give boxes"),
        (["--image_size", "64"], "a detector is exported for its canvas"),
        (["--file_name", "det.onnx"], "must end in .mindir"),
        (["--file_format", "ONNX", "--encrypt_key_file", "key"], "ONNX files cannot be encrypted"),
        (["--file_name", "wide.png/det"], "cannot write|not a folder|Not a directory"),
        (["--batch_size", "65537"], "batch_size"),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_line(folder, options, message):
    Path("key").write_bytes(bytes(16))
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(UserError, match=message) as found:
        export_script.main(["--config", "net.yaml", "--checkpoint", "net.ckpt", "--file_name", "new", *options])
    assert "\n" not in str(found.value) and sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize(
    "change,message",
    [
        ({"canvas": [64, 64]}, "its description of the network cannot be used: canvas: expected"),
        ({"model": None}, "its description of the network cannot be used: expected names and values, got None"),
        ({"sha256": "0" * 64}, "is damaged, or not the file that det.mindir.json describes"),
        ({"inputs": {"images": {"shape": [0, 3, 64, 128]}}}, "batch size: expected a whole number from 1 to 65536"),
        ({"inputs": []}, "its description of the network cannot be used"),
    ],
)
def test_a_description_that_cannot_be_used(folder, change, message):
    path = folder / "det.mindir.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=message) as found:
        predict_script.main(["wide.png", "--config", "net.yaml", "--model_file", "det.mindir"])
    assert "\n" not in str(found.value)
