"""One network, run from a checkpoint, exported files, and without the project: the same labels and probabilities."""

import ast
import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor
from PIL import Image

import predict as command
from src.data.read_image import read_image
from src.data.transforms import EvalTransform
from src.devices.device import set_up_device
from src.errors import UserError
from src.export.exporter import Exporter, Form
from src.weights.checkpoint import save_checkpoint
from src.weights.described_network import create_network
from src.weights.model_card import ModelCard

pytestmark = pytest.mark.usefixtures("equal_graphs")

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
KEY = b"sixteen bytes 16"
HALF_TOLERANCE = 1e-3  # of a probability
CARD = ModelCard(
    model="tnt_ti_patch16_224",
    arguments={"depth": 1, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 8, "outer_num_heads": 2},
    classes=["snow leopard, ounce", "Bär", "狗", "d", "e", "f", "g"],
    image_size=(32, 48),
    in_channels=3,
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.3, 0.25),
    crop_pct=0.9,
)
FORMS = {
    "plain.mindir": Form(),
    "fixed.mindir": Form(batch_size=4),
    "pixels.mindir": Form(takes_pixels=True),
    "encrypted.mindir": Form(key=KEY),
    "half.mindir": Form(precision="float16"),
    "half_pixels.mindir": Form(precision="float16", takes_pixels=True, batch_size=4),
    "plain.onnx": Form("ONNX"),
    "fixed.onnx": Form("ONNX", batch_size=4),
    "pixels.onnx": Form("ONNX", takes_pixels=True),
    "half.onnx": Form("ONNX", precision="float16"),
    "maps.mindir": Form(stages=(0,)),
}
SCRIPTS = {
    "fixed.mindir": "run_mindir.py",
    "pixels.mindir": "run_mindir.py",
    "encrypted.mindir": "run_mindir.py",
    "plain.onnx": "run_onnx.py",
    "fixed.onnx": "run_onnx.py",
    "pixels.onnx": "run_onnx.py",
}


@dataclass
class Trained:
    """A folder with checkpoint, files, key and images, and the network's probabilities (images, classes)."""

    folder: Path
    images: list[Path]
    probabilities: np.ndarray
    exporter: Exporter

    def file(self, name: str) -> Path:
        """A file of the folder, exported when it is first asked for."""
        if name in FORMS and not (self.folder / name).exists():
            self.exporter.write(self.folder / name, FORMS[name])
        return self.folder / name


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    set_up_device("CPU", 1, False)
    net = create_network(CARD)
    rng = np.random.default_rng(1)
    for parameter in net.get_parameters():
        if parameter.ndim > 1:
            parameter.set_data(Tensor(rng.normal(0, 0.3, parameter.shape).astype(np.float32)))
    net.head.weight.set_data(Tensor(rng.normal(0, 0.6, net.head.weight.shape).astype(np.float32)))
    save_checkpoint(folder / "net.ckpt", net.get_parameters(), CARD)
    (folder / "key").write_bytes(KEY + b"\n")
    images = write_images(folder / "images")
    transform = EvalTransform(
        image_size=CARD.image_size, mean=CARD.mean, std=CARD.std, in_channels=3, crop_pct=CARD.crop_pct
    )
    logits = net(Tensor(np.stack([transform(read_image(path)) for path in images]))).asnumpy().astype(np.float64)
    shares = np.exp(logits)
    return Trained(folder, images, shares / shares.sum(axis=1, keepdims=True), Exporter(net, CARD))


def write_images(folder: Path) -> list[Path]:
    """Seven images of several kinds and sizes, in the order of their names."""
    folder.mkdir()
    rng = np.random.default_rng(0)

    def smooth(height: int, width: int, channels: int = 3) -> Image.Image:
        pixels = Image.fromarray(rng.integers(0, 256, (4, 5, channels), dtype=np.uint8))
        return pixels.resize((width, height), Image.Resampling.BICUBIC)

    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    smooth(60, 40).save(folder / "a.jpg", exif=exif)
    smooth(8, 8).convert("L").save(folder / "b.png")
    smooth(300, 200).convert("P").save(folder / "c.png")
    Image.fromarray(rng.integers(0, 65536, (50, 70), dtype=np.uint16)).save(folder / "d.png")
    smooth(33, 333).save(folder / "e.bmp")
    smooth(64, 64, 4).save(folder / "f.png")
    smooth(480, 640).convert("CMYK").save(folder / "g.jpg")
    return sorted(folder.iterdir())


def predict(trained: Trained, name: str, *more: str) -> list[dict]:
    """What predict.py writes as JSON for all images."""
    source = "--checkpoint" if name.endswith(".ckpt") else "--model_file"
    argv = [str(trained.folder / "images"), source, str(trained.file(name)), "--json", "out.json", *more]
    assert command.main(argv) == 0
    return json.loads(Path("out.json").read_text())["images"]


def key_of(trained: Trained, name: str, option: str) -> list[str]:
    return [option, str(trained.folder / "key")] if name.startswith("encrypted") else []


@pytest.mark.parametrize("name", ["net.ckpt", *(name for name in FORMS if not name.startswith("maps"))])
def test_same_predictions(name, trained):
    predicted = predict(trained, name, "--csv", "out.csv", *key_of(trained, name, "--decrypt_key_file"))
    assert [entry["file"] for entry in predicted] == [str(path) for path in trained.images]
    labels = [[item["label"] for item in entry["predictions"]] for entry in predicted]
    shares = [[item["probability"] for item in entry["predictions"]] for entry in predicted]
    order = np.argsort(-trained.probabilities, axis=1)[:, :5]
    if name.startswith("half"):
        assert [row[0] for row in labels] == [CARD.classes[row[0]] for row in order]
        expected = [[trained.probabilities[i, CARD.classes.index(x)] for x in row] for i, row in enumerate(labels)]
        np.testing.assert_allclose(shares, expected, atol=HALF_TOLERANCE)
    else:
        assert labels == [[CARD.classes[index] for index in row] for row in order]
        np.testing.assert_allclose(shares, np.take_along_axis(trained.probabilities, order, axis=1), atol=1e-5)
    with open("out.csv", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "rank", "label", "probability"]
    assert rows == [
        [entry["file"], str(rank), item["label"], str(item["probability"])]
        for entry in predicted
        for rank, item in enumerate(entry["predictions"], start=1)
    ]


def test_the_images_tell_the_labels_apart(trained):
    """Else the tests here could not fail."""
    assert len(set(trained.probabilities.argmax(axis=1))) > 2
    ranked = -np.sort(-trained.probabilities, axis=1)
    assert (ranked[:, :5] - ranked[:, 1:6]).min() > 1e-4


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("maps.mindir", [], r"maps.mindir gives feature maps, predictions need logits; export without --stages"),
        ("encrypted.mindir", [], r"encrypted.mindir is encrypted: add --decrypt_key_file FILE"),
        ("encrypted.mindir", ["--decrypt_key_file", "other"], r"encrypted.mindir is not a MINDIR file encrypted with"),
        ("encrypted.mindir", ["--decrypt_key_file", "none"], r"cannot read key file none"),
        ("plain.mindir", ["--decrypt_key_file", "other"], r"plain.mindir is not encrypted: leave --decrypt_key_file"),
        ("net.ckpt", ["--decrypt_key_file", "other"], r"--decrypt_key_file is for an encrypted file"),
        ("fixed.mindir", ["--batch_size", "2"], r"the model file takes 4 images at a time, got 2"),
        ("plain.onnx", ["--device", "GPU"], r"ONNX files run on CPU here, got --device GPU"),
        ("x.air", [], r"x.air: MindSpore cannot load AIR files"),
    ],
)
def test_files_that_do_not_fit(name, options, message, trained):
    Path("other").write_bytes(b"another key 16 b")
    (trained.folder / "x.air").write_bytes(b"air")
    with pytest.raises(UserError, match=message):
        predict(trained, name, *options)
    assert not Path("out.json").exists()


def copy_exported(trained: Trained, name: str, target: str) -> None:
    """Copies a file and its sidecar."""
    for ending in ("", ".json"):
        shutil.copy(f"{trained.file(name)}{ending}", f"{target}{ending}")


def run_script(script: str, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess:
    """Runs a copy in a folder of its own, where there is nothing of the project."""
    shutil.copy(DEPLOY / script, script)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)], capture_output=True, text=True, timeout=120, env=environment
    )


@pytest.mark.parametrize(("name", "script"), SCRIPTS.items())
def test_without_the_project(name, script, trained):
    expected = predict(trained, name, *key_of(trained, name, "--decrypt_key_file"))
    Path("alone").mkdir()
    os.chdir("alone")
    copy_exported(trained, name, name)
    done = run_script(script, name, *trained.images, *key_of(trained, name, "--key_file"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(expected) * 6
    for entry, start in zip(expected, range(0, len(lines), 6), strict=True):
        assert lines[start] == entry["file"]
        rows = [line.split(maxsplit=1) for line in lines[start + 1 : start + 6]]
        assert [label for _, label in rows] == [item["label"] for item in entry["predictions"]]
        shares = [item["probability"] for item in entry["predictions"]]
        np.testing.assert_allclose([float(share) for share, _ in rows], shares, atol=1e-5)


@pytest.mark.parametrize("script", ["run_mindir.py", "run_onnx.py"])
def test_labels_in_letters_that_the_output_has_not(script, trained):
    name = f"plain.{script.removesuffix('.py').removeprefix('run_')}"
    copy_exported(trained, name, name)
    done = run_script(script, name, trained.images[0], PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    labels = {line.split(maxsplit=1)[1] for line in done.stdout.splitlines()[1:]}
    plain = {label.encode("ascii", "backslashreplace").decode() for label in CARD.classes}
    assert len(labels) == 5 and labels <= plain and labels & {"B\\xe4r", "\\u72d7"}


@pytest.mark.parametrize("script", ["run_mindir.py", "run_onnx.py"])
def test_scripts_tell_errors_in_one_line(script, trained):
    ending = script.removesuffix(".py").removeprefix("run_")
    copy_exported(trained, f"plain.{ending}", f"model.{ending}")
    Path("text.png").write_text("text")
    cases = [([f"model.{ending}", "text.png"], "cannot identify image file")]
    if ending == "onnx":  # MindSpore takes seconds to import
        Path("cut.onnx").write_bytes(Path("model.onnx").read_bytes()[:-1])
        shutil.copy("model.onnx.json", "cut.onnx.json")
        copy_exported(trained, "plain.mindir", "plain.mindir")
        cases += [
            (["cut.onnx", "text.png"], "cut.onnx is damaged, or not the file that cut.onnx.json describes"),
            (["none.onnx", "text.png"], "none.onnx.json"),
            (["plain.mindir", "text.png"], "expected an ONNX file that gives logits, got plain.mindir"),
        ]
    for arguments, message in cases:
        done = run_script(script, *arguments)
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr.startswith("error: ") and message in done.stderr and done.stderr.count("\n") == 1


def test_scripts_are_small_and_need_little():
    functions = []
    for script, runtime in (("run_mindir.py", "mindspore"), ("run_onnx.py", "onnxruntime")):
        text = (DEPLOY / script).read_text()
        assert text.count("\n") < 140
        tree = ast.parse(text)
        modules = {item.name for node in ast.walk(tree) if isinstance(node, ast.Import) for item in node.names}
        modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert modules - set(sys.stdlib_module_names) == {"numpy", "PIL", runtime}
        shared = ("printable", "read_image", "crop_middle", "read_pixels")
        functions.append([ast.dump(node) for node in tree.body if getattr(node, "name", "") in shared])
    assert len(functions[0]) == len(shared) and functions[0] == functions[1]
