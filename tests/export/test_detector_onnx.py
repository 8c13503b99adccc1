"""Detectors as ONNX files: what the network says, and the boxes of its predictions, with and without this project."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from PIL import Image

import export as export_script
import predict as predict_script
from src.data.box_transforms import DetectionTransform
from src.detection import create_detector
from src.detection.retinanet import RetinaNetPredictions
from src.devices.device import set_up_device
from src.errors import UserError
from src.export.box_choice import BoxChoice
from src.export.detector_exporter import DetectorExporter
from src.export.detector_file import anchors_of, load_detector, portrait_of
from src.export.exporter import Form
from src.export.file_names import sidecar_of
from src.export.onnx_cells import build_onnx
from src.export.onnx_detector import DELTAS_NAME
from src.export.onnx_session import load_onnx
from src.weights.checkpoint import save_checkpoint
from src.weights.detector_card import DetectorCard
from tests.tiny_detectors import TINY_BACKBONE

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "run_detector_onnx.py"
CANVAS, CLASSES = (64, 128), ["a cat", "狗", "c"]
STRUCTURE = {
    "table_size": 96,
    "fpn_channels": 8,
    "stacked_convs": 1,
    "anchor_scale": 2.5,
    "backbone": TINY_BACKBONE,
}
MEAN, STD = (0.5, 0.4, 0.3), (0.5, 0.6, 0.7)
CARD = DetectorCard("retinanet_ptnt_ti", STRUCTURE, CLASSES, [3, 8, 9], CANVAS, 60, 120, MEAN, STD)
SIZES = {"wide.png": (120, 50), "high.png": (45, 100), "large.jpg": (347, 217), "square.png": (64, 64)}


def create(**arguments):
    """Random values everywhere, so that scores are of all sizes and boxes overlap."""
    set_up_device("CPU", 1, True)
    net = create_detector(CARD.model, **{**CARD.detector_arguments(), **arguments}).set_train(False)
    rng = np.random.default_rng(0)
    for parameter in net.get_parameters():
        values = rng.standard_normal(parameter.shape)
        if parameter.name.endswith("variance"):
            values = np.exp(0.3 * values)
        elif parameter.ndim > 1:
            values /= np.sqrt(np.prod(parameter.shape[1:]))
        elif parameter.name.endswith(("gamma", ".weight")):
            values = 1 + 0.3 * values
        else:
            values *= 0.3
        parameter.set_data(Tensor(values.astype(np.float32)))
    net.bbox_head.retina_cls.bias.set_data(net.bbox_head.retina_cls.bias - 2.0)
    return net


@pytest.fixture(autouse=True)
def pynative():
    """Nothing to compile."""
    ms.set_context(mode=ms.PYNATIVE_MODE)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with det.onnx, its sister, net.ckpt and images; and the network."""
    folder = tmp_path_factory.mktemp("exported")
    net, rng = create(), np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        save_checkpoint("net.ckpt", net.get_parameters(), CARD)
        for name, size in SIZES.items():
            Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(name)
        Path("net.yaml").write_text("model: {name: retinanet_ptnt_ti}\ndata: {source: coco, workers: 0}\n")
        export_script.main(
            ["--config", "net.yaml", "--checkpoint", "net.ckpt", "--file_format", "ONNX", "--file_name", "det"]
        )
    return folder, net


@pytest.fixture
def folder(exported, tmp_path):
    shutil.copytree(exported[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


def place(*names: str) -> list[np.ndarray]:
    """Images of one orientation as inputs of the network."""
    transform = DetectionTransform(canvas=CANVAS, short_sides=[60], flip_prob=0, mean=MEAN, std=STD, long_side=120)
    placed = [transform(Image.open(name).convert("RGB"), np.zeros((0, 4), np.float32)) for name in names]
    images = np.stack([image.values for image in placed])
    return [images, np.float32([image.size for image in placed]), np.float32([image.scale for image in placed])]


def expect(net, inputs, **arguments) -> list[np.ndarray]:
    """What the network itself finds."""
    return [output.asnumpy() for output in RetinaNetPredictions(net, **arguments)(*map(Tensor, inputs))]


def assert_same_boxes(got, expected) -> None:
    assert expected[3].min() > 3
    for mine, theirs in zip(got[2:], expected[2:], strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == np.int32
    np.testing.assert_allclose(got[1], expected[1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(got[0], expected[0], rtol=0, atol=0.02)


@pytest.mark.parametrize(
    "arguments",
    [
        {"relative_pos": (True, False, True, True), "final_norm": True, "canvas": (32, 96), "stacked_convs": 2},
        {"table_size": (64, 64), "canvas": (64, 64), "backbone": {**STRUCTURE["backbone"], "se": True}},
    ],
)
def test_other_networks(arguments, tmp_path):
    net = create(**arguments)
    for canvas in {net.canvas, net.canvas[::-1]}:
        (tmp_path / "net.onnx").write_bytes(build_onnx(net, (3, *canvas)).SerializeToString())
        run = load_onnx(tmp_path / "net.onnx")
        images = np.random.default_rng(1).standard_normal((3, 3, *canvas), np.float32)
        expected = [np.concatenate([x.asnumpy() for x in maps], axis=1) for maps in net(Tensor(images))]
        for batch_size in (1, 3):
            for got, values in zip(run(images[:batch_size]), expected, strict=True):
                assert np.ptp(values) > 1
                np.testing.assert_allclose(got, values[:batch_size], rtol=0, atol=2e-5)


def test_what_is_written(folder):
    assert sorted(path.name for path in folder.glob("det*")) == [
        "det.onnx",
        "det.onnx.json",
        "det_portrait.onnx",
        "det_portrait.onnx.json",
    ]
    for path, canvas in ((Path("det.onnx"), CANVAS), (Path("det_portrait.onnx"), CANVAS[::-1])):
        description = json.loads(sidecar_of(path).read_text(encoding="utf-8"))
        assert description["canvas"] == list(canvas) and description["inputs"].keys() == {"images"}
        assert description["inputs"]["images"]["shape"] == [None, 3, *canvas]
        outputs, maps = description["outputs"], description["anchors"]["maps"]
        count = sum(level["rows"] * level["columns"] * len(level["base"]) for level in maps)
        assert outputs["logits"]["shape"] == [None, count, 3] and outputs[DELTAS_NAME]["shape"] == [None, count, 4]
        assert [level["stride"] for level in maps] == [8, 16, 32, 64, 128]
        corner = np.float32(maps[1]["base"][1])  # a square of 2.5 * 2 ** (1 / 3) strides has ratio 1, scale 1
        assert corner.shape == (4,) and (corner[:2] < 0).all() and (corner[2:] > 0).all()
        assert (description["score_threshold"], description["iou_threshold"]) == (0.05, 0.5)
        assert (description["candidates"], description["max_per_image"]) == (1000, 100)
        assert description["comparison_with_network"]["largest_difference"] <= 1e-5
        assert description["comparison_with_network"]["batch_sizes"] == [1, 2]
        assert description["model"]["classes"] == CLASSES


@pytest.mark.parametrize("names", [["wide.png", "large.jpg"], ["high.png"], ["square.png"]])
def test_boxes_are_those_of_the_network(names, exported, folder):
    inputs = place(*names)
    file, run = load_detector(Path("det.onnx"))
    assert (file.batch_size, file.canvas, file.card) == (None, CANVAS, CARD)
    assert_same_boxes(run(*inputs), expect(exported[1], inputs))


@pytest.mark.parametrize(
    "numbers",
    [
        {"score_threshold": 0.2, "iou_threshold": 0.3},
        {"score_threshold": 0.0, "candidates": 60, "max_per_image": 7},
        {"score_threshold": 0.4, "candidates": 30, "max_per_image": 300, "iou_threshold": 0.9},
    ],
)
@pytest.mark.parametrize("are_equal", [False, True])
def test_boxes_of_other_numbers(numbers, are_equal, exported):
    """From the same logits and deltas; rounded ones have many equal scores, of which the first comes first."""
    net, rng = exported[1], np.random.default_rng(2)
    anchors = anchors_of(net.anchor_grid, CANVAS)
    logits = [rng.normal(-2, 2, (2, len(level), 3)).astype(np.float32) for level in anchors]
    deltas = [rng.normal(0, 0.7, (2, len(level), 4)).astype(np.float32) for level in anchors]
    if are_equal:
        logits = [np.round(values) for values in logits]
    shapes, scales = np.float32([[60, 120], [50, 33]]), np.float32([[0.5, 0.4], [1.5, 1]])
    predictions = RetinaNetPredictions(net, **numbers)
    inputs = [tuple(map(Tensor, values)) for values in (logits, deltas, anchors)]
    expected = predictions.of_outputs(*inputs, Tensor(shapes), Tensor(scales))
    together = [np.concatenate(values, axis=1) for values in (logits, deltas)]
    got = BoxChoice(**numbers)(*together, anchors, shapes, scales)
    assert_same_boxes(got, [output.asnumpy() for output in expected])


def test_outputs_that_are_not_finite():
    logits, deltas = np.zeros((2, 5, 3), np.float32), np.zeros((2, 5, 4), np.float32)
    logits[1, 4, 2] = np.nan
    anchors = [np.tile(np.float32([0, 0, 9, 9]), (5, 1))]
    boxes, scores, labels, counts = BoxChoice()(logits, deltas, anchors, np.full((2, 2), 9.0), np.ones((2, 2)))
    assert counts.tolist() == [3, -1]  # of each class one
    assert scores[0, :4].tolist() == [0.5, 0.5, 0.5, 0] and labels[0, :4].tolist() == [0, 1, 2, -1]
    assert boxes[0, :3].tolist() == [[0, 0, 9, 9]] * 3


def test_a_fixed_batch_size_and_other_numbers(exported, tmp_path):
    net, choice = exported[1], BoxChoice(score_threshold=0.3, max_per_image=5)
    first, second = DetectorExporter(net, CARD, choice=choice).write(tmp_path / "two.onnx", Form("ONNX", batch_size=2))
    assert second.path == portrait_of(first.path) and first.comparison.batch_sizes == (2,)
    file, run = load_detector(first.path)
    assert (file.batch_size, file.choice) == (2, choice)
    assert run(np.ones((2, 3, *CANVAS), np.float32), np.full((2, 2), 50.0), np.ones((2, 2)))[0].shape == (2, 5, 4)


def predict(*arguments: str) -> list[dict]:
    predict_script.main([*SIZES, "--config", "net.yaml", "--json", "found.json", *arguments])
    return json.loads(Path("found.json").read_text(encoding="utf-8"))["images"]


def run_script(*arguments: str, code: int = 0):
    """Runs a copy where there is nothing of this project."""
    shutil.copy(SCRIPT, "run_detector_onnx.py")
    done = subprocess.run([sys.executable, "run_detector_onnx.py", *arguments], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


def test_predictions_with_and_without_the_project(folder):
    expected = predict("--model_file", "det.onnx", "--batch_size", "2")
    done = run_script("det.onnx", *SIZES, "--json", "alone.json")
    found = json.loads(Path("alone.json").read_text(encoding="utf-8"))["images"]
    assert [image["file"] for image in found] == list(SIZES) and any(image["detections"] for image in found)
    for one, other in zip(found, expected, strict=True):
        assert (one["file"], one["width"], one["height"]) == (other["file"], other["width"], other["height"])
        assert [d["label"] for d in one["detections"]] == [d["label"] for d in other["detections"]]
        for mine, theirs in zip(one["detections"], other["detections"], strict=True):
            np.testing.assert_allclose(mine["box"], theirs["box"], rtol=0, atol=0.02)
            assert mine["score"] == pytest.approx(theirs["score"], abs=1e-5)
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(SIZES)
    assert len(lines) == sum(1 + len(image["detections"]) for image in found)


def test_a_key_for_a_file_that_needs_none(folder):
    Path("key").write_bytes(bytes(16))
    with pytest.raises(UserError, match="det.onnx is not encrypted: leave --decrypt_key_file out"):
        predict("--model_file", "det.onnx", "--decrypt_key_file", "key")


def test_the_script_alone(folder):
    specification = importlib.util.spec_from_file_location("script", SCRIPT)
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    for name in SIZES:
        expected = place(name)
        image, shape, scale, size = script.prepare(name, CARD.to_dict())
        np.testing.assert_array_equal(image, expected[0][0])
        assert shape.tolist() == expected[1][0].tolist() and scale.tolist() == expected[2][0].tolist()
        assert size == SIZES[name]
    reader = SCRIPT.with_name("run_onnx.py").read_text()
    start, end = reader.index("# What Pillow decodes"), reader.index("def crop_middle")
    assert reader[start:end] in SCRIPT.read_text()  # images are read as there
    other = SCRIPT.with_name("run_detector.py").read_text()
    assert other[other.index("def paste") : other.index("class Network")] in SCRIPT.read_text()  # masks too

    Path("text.png").write_text("text")
    Path("det_portrait.onnx").unlink()
    Path("cut.onnx").write_bytes(Path("det.onnx").read_bytes()[:-1])
    shutil.copy("det.onnx.json", "cut.onnx.json")
    for arguments, message in (
        (["det.onnx", "text.png"], "cannot identify image file"),
        (["det.onnx", "high.png"], "det_portrait.onnx"),
        (["det.onnx", "wide.png", "--masks", "out"], "det.onnx gives no masks: leave --masks out"),
        (["det.onnx", "wide.png", "./wide.png", "--masks", "out"], "two images have the same name"),
        (["cut.onnx", "wide.png"], "cut.onnx is damaged, or not the file that cut.onnx.json describes"),
    ):
        done = run_script(*arguments, code=1)
        assert done.stdout == "" and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        assert message in done.stderr


@pytest.mark.parametrize(
    "change,message",
    [
        ({"iou_threshold": "x"}, "iou_threshold: expected a number from 0 to 1, got 'x'"),
        ({"candidates": None}, "candidates: expected a whole number from 1 to 1000000, got None"),
        ({"inputs": {"images": []}}, "expected inputs.images.shape, which is missing"),
        ({"inputs": {"images": {"shape": ["x", 3, 64, 128]}}}, "batch size: expected a whole number"),
        ({"model": {**CARD.to_dict(), "arguments": {"anchor_scale": "x"}}}, "anchor_scale: expected a number"),
        (
            {"model": {**CARD.to_dict(), "arguments": {**STRUCTURE}, "classes": ["a"], "category_ids": [1]}},
            "gives logits",
        ),
    ],
)
def test_a_description_that_cannot_be_used(change, message, folder):
    path = Path("det.onnx.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=message) as found:
        _, run = load_detector(Path("det.onnx"))
        run(np.zeros((1, 3, *CANVAS), np.float32), np.ones((1, 2)), np.ones((1, 2)))
    assert "\n" not in str(found.value)


def test_a_file_that_does_not_compute_the_same_is_refused(exported, tmp_path, monkeypatch):
    def load(file):
        return lambda images: [x * 1.01 for x in load_onnx(file)(images)]

    monkeypatch.setattr("src.export.detector_exporter.load_exported", load)
    with pytest.raises(UserError, match="differs from the network by 1.0e-02 where 1e-04 is allowed"):
        DetectorExporter(exported[1], CARD).write(tmp_path / "bad.onnx", Form("ONNX"))
    assert list(tmp_path.iterdir()) == []
