"""A classifier in one call: files, folders and images in memory, from a checkpoint and from exported files."""

from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor
from PIL import Image

from src import Classifier
from src.data.read_image import read_image
from src.devices.device import set_up_device
from src.errors import UserError
from src.export.exporter import Exporter, Form
from src.prediction.predictions import Prediction
from src.weights.checkpoint import save_checkpoint
from src.weights.described_network import create_network
from tests.prediction.test_predictions import CARD, run

pytestmark = pytest.mark.usefixtures("equal_graphs")

KEY = b"sixteen bytes 16"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with one network in every kind of file, and images."""
    folder = tmp_path_factory.mktemp("files")
    set_up_device("CPU", 1, uses_convolution=True)
    net = create_network(CARD)
    net.head.weight.set_data(Tensor(np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)))
    save_checkpoint(folder / "net.ckpt", net.get_parameters(), CARD)
    exporter = Exporter(net, CARD)
    for name, form in {
        "net.mindir": Form(batch_size=2),
        "secret.mindir": Form(key=KEY, batch_size=2),
        "net.onnx": Form("ONNX"),
    }.items():
        exporter.write(folder / name, form)
    (folder / "key").write_bytes(KEY)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    (folder / "images").mkdir()
    for name, values in zip("abc", pixels, strict=True):
        Image.fromarray(values).save(folder / "images" / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def classifier(files) -> Classifier:
    return Classifier(files / "net.ckpt")


@pytest.fixture(scope="module")
def expected(files, classifier) -> list[Prediction]:
    return classifier.predict(files / "images", top_k=3)


def probabilities(predictions: list[Prediction]) -> list[list[float]]:
    return [[dict(p.top)[label] for label in CARD.classes] for p in predictions]


def test_a_folder_of_a_checkpoint(files, classifier, expected, capfd):
    assert classifier.card == CARD
    assert [p.file for p in expected] == [files / "images" / f"{name}.png" for name in "abc"]
    assert all(sum(row) == pytest.approx(1) for row in probabilities(expected))
    assert all(p.top == sorted(p.top, key=lambda label: -label[1]) for p in expected)
    _, out, _ = run([str(files / "images"), "--checkpoint", str(files / "net.ckpt"), "--top_k", "3"], capfd)
    assert [f"{share:.4f}" for p in expected for _, share in p.top] == [
        line.split()[-1] for line in out.split("\n")[1:-1]
    ]


def test_whatever_an_image_is(files, classifier, expected):
    paths = [p.file for p in expected]
    pillow = [read_image(path) for path in paths]
    arrays = [np.asarray(image) for image in pillow]
    mixed = [str(paths[0]), pillow[1], arrays[2]]
    for images in (paths, pillow, arrays, np.stack(arrays), iter(arrays), mixed):
        found = classifier.predict(images, top_k=3)
        np.testing.assert_allclose(probabilities(found), probabilities(expected), atol=1e-6)
    assert [p.file for p in classifier.predict(mixed, top_k=1)] == [paths[0], None, None]
    for image in (str(paths[1]), paths[1], pillow[1], arrays[1]):
        (one,) = classifier.predict(image, batch_size=3)
        assert dict(one.top) == pytest.approx(dict(expected[1].top), abs=1e-6)
    grey = arrays[0][:, :, 0]
    same = [np.stack([grey] * 3, axis=2), Image.fromarray(grey), grey]
    assert len({str(p.top) for p in classifier.predict(same)}) == 1
    assert classifier.predict([]) == []


@pytest.mark.parametrize("name", ["net.mindir", "secret.mindir", "net.onnx"])
def test_exported_files_say_the_same(name, files, expected):
    if name.endswith("onnx"):
        pytest.importorskip("onnxruntime")
    exported = Classifier(files / name, key_file=files / "key" if name == "secret.mindir" else None)
    assert exported.card == CARD
    np.testing.assert_allclose(
        probabilities(exported.predict(files / "images")), probabilities(expected), rtol=0, atol=1e-5
    )


def test_images_that_cannot_be(classifier, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.png").write_bytes(b"no image")
    for images, message in (
        ("none.png", "cannot read image none.png .*No such file"),
        (["bad.png", np.zeros((4, 4, 3), np.uint8)], "cannot read image bad.png"),
        (tmp_path / "empty", "empty holds no images"),
        (np.zeros((4, 4, 3)), r"expected pixels \(H, W\) or \(H, W, 3\) of uint8, got \(4, 4, 3\) of float64"),
        (np.zeros((3, 4, 4), np.uint8), r"got \(3, 4, 4\) of uint8"),
        (np.zeros((0, 4), np.uint8), r"got \(0, 4\) of uint8"),
        (Image.new("F", (4, 4)), "cannot read image in memory .*floating-point pixels"),
        ([None], "expected an image file, a Pillow image or an array, got NoneType"),
        (3, "images: expected files, folders, Pillow images or arrays, got int"),
    ):
        with pytest.raises(UserError, match=message):
            classifier.predict(images)
    with pytest.raises(UserError, match="top_k: expected at least 1, got 0"):
        classifier.predict(np.zeros((4, 4, 3), np.uint8), top_k=0)


def test_files_that_cannot_be(files):
    for arguments, message in (
        (("none.ckpt",), "none.ckpt"),
        (("none.onnx",), "none.onnx"),
        ((files / "key",), "key is not a readable MindSpore checkpoint"),
        ((files / "net.ckpt", None, files / "key"), "net.ckpt is a checkpoint: leave it out"),
        ((files / "secret.mindir",), "secret.mindir"),
        ((files / "net.ckpt", "GPU"), "device GPU is not available"),
    ):
        with pytest.raises(UserError, match=message):
            Classifier(*arguments)
