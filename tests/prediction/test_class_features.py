"""Class features: of a data set and of files, in .npz files, and their scores; features.py as a user runs it."""

from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from PIL import Image

import features as command
from src.data.eval_batch import EvalBatch
from src.data.image_files import ImageFiles
from src.devices.device import set_up_device
from src.errors import UserError
from src.models import create_model
from src.prediction.class_features import LabelledFeatures, collect_features, write_features
from src.prediction.feature_scores import knn_accuracy, linear_accuracy
from src.terminal.command import run_command
from src.weights.checkpoint import save_checkpoint
from src.weights.described_network import create_network
from tests.prediction.test_predictions import CARD

pytestmark = pytest.mark.usefixtures("equal_graphs")


def labelled(features, labels) -> LabelledFeatures:
    return LabelledFeatures(np.array(features, np.float32), [], np.array(labels, np.int32), ["a", "b", "c"])


def test_features_are_what_the_head_is_applied_to():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    arguments = {"depth": 1, "inner_dim": 4, "outer_dim": 12, "image_size": 32, "num_classes": 3}
    net = create_model("tnt_s_patch16_224", **arguments).set_train(False)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 2, 3, 32, 32)).astype(np.float32)
    batches = [EvalBatch((images[k],), (np.array([k, 2]), np.array([2 * k, 9])), 2 - k) for k in (0, 1)]
    features, labels, indices = collect_features(net, batches)
    assert (
        features.shape == (3, 12) and labels.tolist() == [0, 2, 1] and indices.tolist() == [0, 9, 2]
    )  # the last image of the second batch is filling
    logits = np.concatenate([net(ms.Tensor(batch.inputs[0])).asnumpy()[: batch.num_valid] for batch in batches])
    np.testing.assert_allclose(net.head(ms.Tensor(features)).asnumpy(), logits, atol=1e-5)


def test_nearest_neighbours_by_hand():
    """By angle: the length of a vector does not matter."""
    train = labelled([[1, 0.2], [100, 0], [0, 1], [0.1, 70], [-1, 0]], [0, 1, 2, 2, 1])
    val = labelled([[1, 0], [0.1, 0.02], [-7, 1], [0, 5]], [1, 0, 1, 0])
    assert knn_accuracy(train, val, 1) == 75.0  # the last is nearest to label 2
    assert knn_accuracy(train, labelled([[1, 5]], [2]), 3) == 100.0  # two of the three nearest
    with pytest.raises(UserError, match="^--knn 6: the train split has 5 images; give a smaller number$"):
        knn_accuracy(train, val, 6)


def test_linear_probe_needs_no_scale():
    train = labelled([[0, 1000], [1e-4, 1000], [2e-4, 1000], [1e-3, 1000]], [0, 0, 0, 2])
    val = labelled([[1e-4, 1000], [1e-3, 1000], [9e-4, 1000], [0, 1000]], [0, 2, 2, 2])
    assert linear_accuracy(train, val) == 75.0
    with pytest.raises(UserError, match="^--linear_probe: all images of the train split have one label"):
        linear_accuracy(labelled([[0], [1]], [1, 1]), train)


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match="cannot write none/a.npz"):
        write_features("none/a.npz", labelled([[1]], [0]))


def test_labels_of_files():
    files = ImageFiles([Path("x/blue/a.png"), Path("blue.png"), Path("red/b.png")], ["red", "green", "blue"])
    assert [files.label(i) for i in range(3)] == [2, -1, 0] and files.describe(1) == "blue.png"


# --- features.py ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint, and images of two classes that their colours tell apart."""
    folder = tmp_path_factory.mktemp("features")
    set_up_device("CPU", 1, uses_convolution=True)
    save_checkpoint(folder / "net.ckpt", create_network(CARD).get_parameters(), CARD)
    rng = np.random.default_rng(0)
    for name, level in {"dark": 40, "light": 160}.items():
        for split, count in {"train": 4, "val": 3}.items():
            (folder / "data" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.uint8(level + rng.integers(0, 30, (16, 16, 3)))
                Image.fromarray(pixels).save(folder / "data" / split / name / f"{number}.png")
    return folder


def run(capfd, *argv) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    with pytest.raises(SystemExit) as end:
        run_command(partial(command.main, [*map(str, argv), "--device", "CPU", "--data.workers", "0"]))
    captured = capfd.readouterr()
    return end.value.code, captured.out, captured.err


def test_a_data_set(folder, capfd):
    options = ["--checkpoint", folder / "net.ckpt", "--data", folder / "data", "--train.batch_size", "4"]
    code, out, _ = run(capfd, *options, "--npz", "a.npz", "--split", "train", "--knn", "1", "--linear_probe")
    against = "of 6 validation images, by 8 training images"
    assert code == 0 and out.splitlines()[-4:] == [
        f"1 nearest neighbour: top-1 100.00 % {against}",
        f"linear probe: top-1 100.00 % {against}",
        "written: a.npz (8 features of 8 images)",
        "next: numpy.load('a.npz') in Python, see docs/features.md",
    ]
    found = np.load("a.npz")
    assert sorted(found) == ["classes", "features", "files", "labels"]
    assert found["features"].shape == (8, 8) and found["features"].dtype == np.float32
    assert found["labels"].tolist() == [0] * 4 + [1] * 4 and found["classes"].tolist() == ["dark", "light"]
    assert found["files"][7] == str(folder / "data" / "train" / "light" / "3.png")


def test_files_and_folders(folder, capfd):
    """The same features as those of the data set; what cannot be read is skipped and told."""
    bad = folder / "data" / "val" / "dark" / "9.png"
    bad.write_bytes(b"no image")
    given = ["--checkpoint", folder / "net.ckpt", "--npz", "b.npz"]
    code, out, err = run(capfd, folder / "data" / "val", "none", *given)
    bad.unlink()
    assert code == 1 and "written: b.npz (8 features of 6 images)" in out
    assert err.count("skipped: cannot read image") == 2 and "9.png" in err and "image none" in err
    found = np.load("b.npz")
    assert [Path(name).name for name in found["files"]] == ["0.png", "1.png", "2.png"] * 2
    assert found["labels"].tolist() == [-1] * 6 and found["classes"].tolist() == CARD.classes
    code, _, _ = run(capfd, "--data", folder / "data", *given)
    assert code == 0
    np.testing.assert_allclose(np.load("b.npz")["features"], found["features"], atol=1e-6)


def test_wrong_command_lines(folder, capfd, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.png").write_bytes(b"no image")
    checkpoint = ["--checkpoint", folder / "net.ckpt"]
    for argv, message in (
        (checkpoint, "there is nothing to do: give --npz FILE, --knn K or --linear_probe"),
        (["a.png", "--knn", "3"], "are for the configuration's data: leave the images out"),
        (["a.png", "--npz", "a.npz", "--split", "val"], "are for the configuration's data: leave the images out"),
        (["--npz", "a.txt"], "a.txt: expected a name that ends in .npz"),
        (["--npz", "none/a.npz"], "none is not a folder that can be written"),
        (["--knn", "0"], "knn is 0: expected from 1 to 1000"),
        (["--npz", "a.npz", "--output", "none"], "best.ckpt does not exist"),
        (["empty", "--npz", "a.npz", *checkpoint], "there is no image to look at"),
        (["bad.png", "--npz", "a.npz", *checkpoint], "none of the images could be read"),
        (["--npz", "a.npz", "--data", "none", *checkpoint], "data folder none does not exist"),
        (["--knn", "9", "--data", folder / "data", *checkpoint], "--knn 9: the train split has 8 images"),
    ):
        code, _, err = run(capfd, *argv)
        assert code == 2 and message in err.splitlines()[-1], (argv, err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.png", "empty"]
