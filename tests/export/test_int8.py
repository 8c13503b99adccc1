"""int8 ONNX files: what is rounded, that they are judged and described, and what is refused."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np
import onnx
import pytest
from PIL import Image

import export as command
from src.data.transforms import normalize
from src.errors import UserError
from src.export import int8
from src.export.calibration import Calibration
from src.export.exported_file import load_exported, read_sidecar
from src.export.exporter import Exporter, Form
from src.export.int8 import Int8Scores
from src.prediction.classifier import Classifier
from src.terminal.command import run_command
from src.weights.checkpoint import save_checkpoint
from src.weights.described_network import create_network
from src.weights.model_card import ModelCard

REPOSITORY = Path(__file__).resolve().parents[2]
CARD = ModelCard(
    model="tnt_ti_patch16_224",
    arguments={"depth": 1, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 8, "outer_num_heads": 2},
    classes=[str(digit) for digit in range(10)],
    image_size=(32, 16),
    in_channels=3,
    mean=(0.5, 0.4, 0.3),
    std=(0.5, 0.6, 0.7),
    crop_pct=1.0,
)
INT8 = Form("ONNX", precision="int8")
COUNT = 20


@pytest.fixture(autouse=True)
def all_weights_count(monkeypatch):
    """Those of tiny networks too."""
    monkeypatch.setattr(int8, "SMALLEST_WEIGHT", 0)


def network():
    ms.set_seed(3)
    net = create_network(CARD).set_train(False)
    rng = np.random.default_rng(3)
    for parameter in net.get_parameters():
        parameter.set_data(ms.Tensor(rng.standard_normal(parameter.shape).astype(np.float32) * 0.4))
    return net


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, *CARD.image_size, 3), dtype=np.uint8)


def calibration(labels: np.ndarray | None = None, largest_drop: float = 100.0) -> Calibration:
    mean, std = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (CARD.mean, CARD.std))
    return Calibration(np.stack([normalize(image, mean, std) for image in pixels()]), labels, largest_drop)


def write(folder: Path, form: Form, images: Calibration) -> Path:
    return Exporter(network(), CARD, calibration=images).write(folder / "net.onnx", form).path


@pytest.mark.parametrize("batch_size", [None, 3])
def test_products_with_weights_are_int8_by_output_channel(batch_size, tmp_path):
    images = calibration(labels=np.arange(COUNT) % 10)
    path = write(tmp_path, Form("ONNX", batch_size, "int8"), images)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["net.onnx", "net.onnx.json"]
    graph = onnx.load(path).graph
    arrays = {constant.name: onnx.numpy_helper.to_array(constant) for constant in graph.initializer}
    made = {node.output[0]: node for node in graph.node}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    rounded = [node for node in products if made[node.input[1]].op_type == "DequantizeLinear"]
    assert len(products) - len(rounded) == 4  # attention, inner and outer: with keys, and with values
    for node in rounded:
        weight, scale, _ = (arrays[name] for name in made[node.input[1]].input)
        assert weight.dtype == np.int8 and scale.shape == (weight.shape[1],)
        assert made[node.input[0]].op_type == "DequantizeLinear"  # static: the scale is a constant
        assert made[node.input[0]].input[1] in arrays

    size = batch_size or COUNT
    exact = network()(ms.Tensor(images.images[:size])).asnumpy()
    found = load_exported(path)(images.images[:size])
    assert found.shape == exact.shape and 0 < np.abs(found - exact).max() < 0.1 * np.abs(exact).max()
    comparison = json.loads((tmp_path / "net.onnx.json").read_text())["comparison_with_network"]
    assert comparison["images"] == COUNT and comparison["largest_drop"] == 100.0
    if batch_size is None:
        assert comparison["accuracy_float32"] == np.mean(exact.argmax(1) == images.labels)
        assert comparison["accuracy_int8"] == np.mean(found.argmax(1) == images.labels)
        assert comparison["same_label"] == np.mean(found.argmax(1) == exact.argmax(1))
    assert read_sidecar(path).precision == "int8"


def test_narrow_products_stay_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(int8, "SMALLEST_WEIGHT", 8 * 16)  # of the outer blocks' projections
    graph = onnx.load(write(tmp_path, INT8, calibration())).graph
    weights = {constant.name: constant for constant in graph.initializer}
    plain = [weights[node.input[1]] for node in graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    assert plain and all(np.prod(weight.dims) < 8 * 16 for weight in plain)
    assert any(
        weight.data_type == onnx.TensorProto.INT8 and np.prod(weight.dims) >= 8 * 16 for weight in weights.values()
    )


def test_pixels_are_calibrated_as_pixels(tmp_path):
    images = calibration()
    found = load_exported(write(tmp_path, Form("ONNX", precision="int8", takes_pixels=True), images))(pixels())
    exact = network()(ms.Tensor(images.images)).asnumpy()
    assert np.abs(found - exact).max() < 0.1 * np.abs(exact).max()


def test_what_falls_behind_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="falls behind by .* where -1 are allowed .*nothing was exported"):
        write(tmp_path, INT8, calibration(largest_drop=-1.0))
    assert list(tmp_path.iterdir()) == []


def test_scores():
    labelled = Int8Scores(200, 0.90, 0.88, 0.95, 1.5)
    assert labelled.drop == pytest.approx(2.0) and "accuracy 90.00 % in float32, 88.00 % in int8" in str(labelled)
    with pytest.raises(UserError, match="by 2.00 points where 1.5 are allowed"):
        labelled.check()
    without = Int8Scores(200, None, None, 0.95, 5.5)
    assert without.drop == pytest.approx(5.0) and "their own labels are not known" in str(without)
    without.check()
    Int8Scores(200, 0.90, 0.95, 0.5, 0.0).check()  # better than before


def test_commands(tmp_path, monkeypatch, capfd):
    """Images from class folders, predictions of predict.py's classifier, and of deploy/run_onnx.py."""
    monkeypatch.chdir(tmp_path)
    save_checkpoint("net.ckpt", network().get_parameters(), CARD)
    for index, image in enumerate(pixels()):
        folder = tmp_path / "images" / str(index % 10)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index}.png")
    options = "--checkpoint net.ckpt --file_format ONNX --precision int8 --device CPU --largest_drop 100".split()
    command.main([*options, "--calibration", "images", "--file_name", "small", "--data.workers", "0"])
    printed = capfd.readouterr().out
    assert "written: small.onnx (" in printed and "% of 20 images have the same first label as in float32" in printed
    assert "accuracy " in printed and "(allowed to lose: 100 points; ONNX Runtime, CPU)" in printed
    first = Classifier("small.onnx").predict("images/3/3.png", top_k=1)[0].top[0][0]
    (tmp_path / "run.py").write_text((REPOSITORY / "deploy" / "run_onnx.py").read_text())
    said = subprocess.run([sys.executable, "run.py", "small.onnx", "images/3/3.png"], capture_output=True, text=True)
    assert said.returncode == 0 and f" {first}" in said.stdout, said.stderr

    command.main([*options, "--file_name", "digits", "--calibration_images", "40", "--data.workers", "0"])
    assert "accuracy " in capfd.readouterr().out
    described = json.loads(Path("digits.onnx.json").read_text())["comparison_with_network"]
    assert 40 <= described["images"] < 80


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--file_format", "MINDIR"], "int8 files are ONNX files of logits, got MINDIR"),
        (["--file_format", "ONNX", "--stages", "0"], "int8 files are ONNX files of logits, got ONNX of stages"),
        (["--file_format", "ONNX", "--calibration", "nothing"], "--calibration: folder nothing holds no images"),
        (["--file_format", "ONNX", "--calibration", "no.png"], "no.png"),
        (["--file_format", "ONNX", "--calibration_images", "0"], "calibration_images"),
        (["--file_format", "ONNX", "--largest_drop", "-1"], "largest_drop"),
    ],
)
def test_refusals(options, reason, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nothing").mkdir()
    save_checkpoint("net.ckpt", network().get_parameters(), CARD)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as end:
        run_command(partial(command.main, ["--checkpoint", "net.ckpt", "--precision", "int8", *options]))
    assert end.value.code == 2 and reason in capfd.readouterr().err
    assert sorted(path for path in tmp_path.rglob("*") if path.parent.name != "output") == before
