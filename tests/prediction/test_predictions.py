"""Predictions for image files: each file once, in batches of one size, with exit codes that tell what was read."""

import json
import os
from functools import partial
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
from mindspore import Tensor
from PIL import EpsImagePlugin, Image

import predict as command
from src.data.read_image import read_image
from src.data.transforms import EvalTransform
from src.devices.device import set_up_device
from src.errors import UserError
from src.export.exporter import Exporter
from src.prediction.open_classifier import OpenClassifier
from src.prediction.predictions import Prediction, Skipped, find_images, predict_images
from src.tasks.classification_scores import softmax
from src.terminal.command import run_command
from src.weights.checkpoint import save_checkpoint
from src.weights.described_network import create_network
from src.weights.model_card import ModelCard
from tests.command_output import without_outcome

pytestmark = pytest.mark.usefixtures("equal_graphs")

CARD = ModelCard(
    model="tnt_ti_patch16_224",
    arguments={"depth": 1, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 8, "outer_num_heads": 2},
    classes=["red", "green", "blue"],
    image_size=(16, 16),
    in_channels=3,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    crop_pct=0.9,
)
COLOURS = {"red": (250, 60, 10), "green": (60, 250, 10), "blue": (10, 60, 250)}


class BrightestChannel:
    """A classifier that can be checked by eye; remembers what it was given."""

    def __init__(self):
        self.shapes = []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        assert images.dtype == np.float32
        self.shapes.append(images.shape)
        return images.mean(axis=(2, 3))


def write_image(path: str, colour: str = "red") -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 30), COLOURS[colour]).save(path)
    return Path(path)


def run(argv, capfd) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of the command."""
    with pytest.raises(SystemExit) as end:
        run_command(partial(command.main, argv))
    captured = capfd.readouterr()
    return end.value.code, captured.out, captured.err


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint, an exported file and the network itself."""
    folder = tmp_path_factory.mktemp("trained")
    set_up_device("CPU", 1, False)
    net = create_network(CARD)
    net.head.weight.set_data(Tensor(np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)))
    save_checkpoint(folder / "net.ckpt", net.get_parameters(), CARD)
    Exporter(net, CARD).write(folder / "net.mindir")
    return folder, net


def test_find_images(tmp_path):
    for name in ("b.png", "A.JPG", "sub/deep/c.png", "sub/.hidden.png", ".hidden/d.png"):
        write_image(name)
    Path("readme.txt").write_text("text")
    Path("empty").mkdir()
    Path("sub/circle").symlink_to(tmp_path)
    files, skipped = find_images([".", "readme.txt", "empty", "missing.png", "b.png"])
    assert [str(file) for file in files] == ["A.JPG", "b.png", "sub/deep/c.png", "readme.txt", "missing.png", "b.png"]
    assert [(item.file, item.reason) for item in skipped] == [(Path("empty"), "folder empty holds no images")]


def test_every_file_once_in_batches_of_one_size():
    names = ["red", "green", "blue", "blue", "green", "red", "green"]
    files = [write_image(f"{number}.png", name) for number, name in enumerate(names)]
    Path("2.png").write_text("broken")
    network = BrightestChannel()
    results = list(predict_images(OpenClassifier(network, CARD), files, batch_size=3, top_k=2, workers=2))
    assert network.shapes == [(3, 3, 16, 16)] * 3
    assert [(item.file.name, item.top[0][0]) for item in results if isinstance(item, Prediction)] == [
        (f"{number}.png", name) for number, name in enumerate(names) if number != 2
    ]
    [skipped] = [item for item in results if isinstance(item, Skipped)]
    assert skipped.file == Path("2.png") and "cannot read image 2.png" in skipped.reason


def test_probabilities_and_top_k():
    [prediction] = predict_images(
        OpenClassifier(BrightestChannel(), CARD), [write_image("a.png", "blue")], batch_size=1, top_k=9, workers=1
    )
    assert [label for label, _ in prediction.top] == ["blue", "green", "red"]
    logits = [2 * value / 255 - 1 for value in (250, 60, 10)]
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose([share for _, share in prediction.top], expected, atol=1e-6)
    for top_k in (1, 2):
        [prediction] = predict_images(
            OpenClassifier(BrightestChannel(), CARD), [Path("a.png")], batch_size=1, top_k=top_k, workers=1
        )
        assert len(prediction.top) == top_k


def test_pixels():
    """A network that normalises by itself gets (H, W, C), also the zeros that fill the last batch."""
    batches = []

    def run(images):
        batches.append(images)
        return images.astype(np.float32).mean(axis=(1, 2))

    files = [write_image(f"{name}.png", name) for name in COLOURS]
    results = list(
        predict_images(OpenClassifier(run, CARD, takes_pixels=True), files, batch_size=2, top_k=1, workers=1)
    )
    assert [item.top[0][0] for item in results] == list(COLOURS)
    assert [(batch.shape, batch.dtype) for batch in batches] == [((2, 16, 16, 3), np.uint8)] * 2
    assert batches[0][0, 0, 0].tolist() == list(COLOURS["red"]) and not batches[1][1].any()


def test_softmax():
    shares = softmax(np.array([[0, np.log(3)], [1e4, 1e4]], np.float32))
    assert shares.dtype == np.float64
    np.testing.assert_allclose(shares, [[0.25, 0.75], [0.5, 0.5]], atol=1e-7)


def test_outputs_that_are_not_finite():
    broken = OpenClassifier(lambda images: np.full((1, 3), np.nan, np.float32), CARD)
    with pytest.raises(UserError, match="not finite"):
        list(predict_images(broken, [write_image("a.png")], batch_size=1, top_k=1, workers=1))


@pytest.mark.parametrize("kind", ["checkpoint", "model_file"])
def test_command(kind, trained, capfd):
    folder, net = trained
    for number, colour in enumerate(COLOURS):
        write_image(f"images/{number}.png", colour)
    model = ["--checkpoint", str(folder / "net.ckpt")] if kind == "checkpoint" else []
    model = model or ["--model_file", str(folder / "net.mindir")]
    code, out, err = run(["images", *model, "--top_k", "2", "--batch_size", "2", "--json", "out.json"], capfd)
    assert code == 0 and err.startswith("written: out.json\nnext: python ") and err.endswith(" --draw drawn\n")
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["file", "rank", "label", "probability"] and len(rows) == 1 + 3 * 2
    content = json.loads(Path("out.json").read_text())
    assert content["skipped"] == []

    transform = EvalTransform(
        image_size=CARD.image_size, mean=CARD.mean, std=CARD.std, in_channels=3, crop_pct=CARD.crop_pct
    )
    for number, entry in enumerate(content["images"]):
        file = f"images/{number}.png"
        logits = net(Tensor(transform(read_image(file))[None])).asnumpy().astype(np.float64)
        shares = (np.exp(logits) / np.exp(logits).sum())[0]
        order = np.argsort(-shares)[:2]
        assert entry["file"] == file
        assert [item["label"] for item in entry["predictions"]] == [CARD.classes[index] for index in order]
        np.testing.assert_allclose([item["probability"] for item in entry["predictions"]], shares[order], atol=1e-6)
        assert rows[1 + 2 * number] == [file, "1", CARD.classes[order[0]], f"{shares[order[0]]:.4f}"]
        assert rows[2 + 2 * number] == ["2", CARD.classes[order[1]], f"{shares[order[1]]:.4f}"]


def test_command_takes_the_best_checkpoint_of_the_run(trained, capfd):
    write_image("a.png")
    code, _, err = run(["a.png"], capfd)
    assert code == 2 and "output/ptnt_digits/checkpoints/best.ckpt does not exist" in err and "run_demo.sh" in err
    Path("output/ptnt_digits/checkpoints").mkdir(parents=True)
    os.symlink(trained[0] / "net.ckpt", "output/ptnt_digits/checkpoints/best.ckpt")
    code, out, _ = run(["a.png"], capfd)
    assert code == 0 and len(out.splitlines()) == 1 + 3


def test_unreadable_images_are_named_and_skipped(trained, capfd):
    write_image("good.png")
    Path("bad.png").write_text("no image")
    Path("empty").mkdir()
    options = ["--model_file", str(trained[0] / "net.mindir"), "--json", "out.json"]
    code, out, err = run(["bad.png", "good.png", "missing.png", "empty", *options], capfd)
    assert code == 1
    assert len(out.splitlines()) == 1 + 3 and "bad.png" not in out
    lines = without_outcome(err).splitlines()
    assert len(lines) == 3 and all(line.startswith("skipped: ") for line in lines)
    assert [name for line in lines for name in ("empty", "bad.png", "missing.png") if f" {name} " in line] == [
        "empty",
        "bad.png",
        "missing.png",
    ]
    content = json.loads(Path("out.json").read_text())
    assert [entry["file"] for entry in content["images"]] == ["good.png"]
    assert [entry["file"] for entry in content["skipped"]] == ["empty", "bad.png", "missing.png"]

    Path("out.json").unlink()
    code, out, err = run(["bad.png", "missing.png", *options], capfd)
    assert code == 2 and out == "" and not Path("out.json").exists()
    assert err.splitlines()[-1] == "error: none of the 2 files could be read as an image"
    code, out, err = run(["empty", *options], capfd)
    assert code == 2 and err.splitlines() == [
        "skipped: folder empty holds no images",
        "error: there is no image to look at",
    ]


def test_a_pipe_that_nobody_writes_is_named_and_skipped(trained, capfd):
    write_image("images/good.png")
    os.mkfifo("images/pipe.png")
    end_the_wait = Timer(10, lambda: os.close(os.open("images/pipe.png", os.O_RDWR)))  # of whoever opened it to read
    end_the_wait.start()
    code, out, err = run(["images", "--model_file", str(trained[0] / "net.mindir")], capfd)
    end_the_wait.cancel()
    assert code == 1 and len(out.splitlines()) == 1 + 3
    assert err.startswith("skipped: cannot read image images/pipe.png (ValueError: a folder, pipe, socket or device, ")
    assert without_outcome(err).count("\n") == 1


def test_no_program_is_started_for_an_image(monkeypatch):
    """Pillow lets the first `gs` on the PATH draw EPS, which it tells by the content."""
    Path("bin").mkdir()
    Path("bin/gs").write_text("#!/bin/sh\n> started\n")
    Path("bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path('bin').absolute()}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    Image.new("RGB", (4, 4)).save("drawing.png", "EPS")
    Path("text.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n")
    for name in ("drawing.png", "text.png"):
        with Image.open(name) as image, pytest.raises(OSError):
            image.load()
        Path("started").unlink()  # it was there
    files = [Path("drawing.png"), Path("text.png")]
    results = list(predict_images(OpenClassifier(BrightestChannel(), CARD), files, batch_size=2, top_k=1, workers=1))
    assert [result.file for result in results if isinstance(result, Skipped)] == files
    assert all("UnidentifiedImageError" in result.reason for result in results)
    assert not Path("started").exists()
    Path("drawing.png").rename("drawing.eps")
    assert find_images(["."]) == ([Path("text.png")], [])


def test_names_and_labels_do_not_steer_the_terminal(trained, capfd):
    steering = "\x1b[31m\r\n\x07\x9b2J\u202e"
    write_image(f"{steering}.png")
    Image.fromarray(np.full((20, 30), 255, np.uint16)).save(f"{steering}dark.png")
    Path(f"{steering}bad.png").write_text("no image")
    Path(f"{steering}empty").mkdir()
    Path("x.mindir").write_bytes((trained[0] / "net.mindir").read_bytes())
    sidecar = json.loads((trained[0] / "net.mindir.json").read_text())
    sidecar["model"]["classes"] = [f"{steering}{name}" for name in CARD.classes]
    Path("x.mindir.json").write_text(json.dumps(sidecar))
    images = [f"{steering}{name}" for name in (".png", "dark.png", "bad.png", "empty")]
    code, out, err = run([*images, "--model_file", "x.mindir"], capfd)
    assert code == 1 and len(out.splitlines()) == 1 + 2 * 3
    assert sorted(line.partition(":")[0] for line in without_outcome(err).splitlines()) == [
        *("skipped", "skipped", "warning")
    ]
    assert (out + err).replace("\n", "").isprintable()
    code, out, err = run([images[0], f"{images[0]}.prediction.png", "--draw", "."], capfd)
    assert code == 2 and out == "" and err.startswith("error: ?[31m") and err.count("\n") == 1
    assert err[:-1].isprintable()


def test_wrong_usage_in_one_line(trained, tmp_path, capfd):
    folder = trained[0]
    write_image("a.png")
    Path("alone.mindir").write_bytes((folder / "net.mindir").read_bytes())
    Path("cut.mindir").write_bytes((folder / "net.mindir").read_bytes()[:1000])
    Path("cut.mindir.json").write_bytes((folder / "net.mindir.json").read_bytes())
    file, checkpoint = ["--model_file", str(folder / "net.mindir")], ["--checkpoint", str(folder / "net.ckpt")]
    before = sorted(tmp_path.rglob("*"))
    for options, expected in [
        ([*file], "expected IMAGES, got none"),
        (["a.png", *file, *checkpoint], "--model_file and --checkpoint were both given: give one of them"),
        (["a.png", "--model_file", "none.mindir"], "model file none.mindir does not exist"),
        (["a.png", "--model_file", "alone.mindir"], "alone.mindir.json does not exist"),
        (["a.png", "--model_file", "cut.mindir"], "cut.mindir is damaged"),
        (["a.png", "--checkpoint", "none.ckpt"], "none.ckpt does not exist"),
        (["a.png", *file, "--top_k", "0"], "top_k is 0: expected from 1 to 1000000"),
        (["a.png", *file, "--top_k", "all"], "top_k: expected int or null, got all"),
        (["a.png", *file, "--batch_size", "0"], "batch_size is 0: expected from 1 to 1000000"),
        (["a.png", *file, "--json", "missing/out.json"], "cannot write missing/out.json"),
        (["a.png", *file, "--csv", "missing/out.csv"], "cannot write missing/out.csv"),
        (["a.png", *file, "--draw", "a.png"], "cannot draw into a.png"),
        (["a.png", *file, "--device", "Ascend"], "device Ascend is not available"),
        (["a.png", *file, "--topk", "3"], "unknown option --topk; the nearest known one is --top_k"),
    ]:
        code, out, err = run(options, capfd)
        assert code == 2 and out == "" and expected in err and err.count("\n") == 1, (options, err)
    assert sorted(tmp_path.rglob("*")) == before


def test_drawings(trained, capfd):
    write_image("images/a.png")
    Path("images/bad.png").write_text("no image")
    options = ["--model_file", str(trained[0] / "net.mindir"), "--draw", "drawn/here"]
    code, _, _ = run(["images", *options], capfd)
    assert code == 1
    [drawn] = [path for path in Path("drawn").rglob("*") if path.is_file()]
    assert drawn == Path("drawn/here/a.png.prediction.png")
    with Image.open(drawn) as picture:
        assert picture.getpixel((picture.width // 2, 100)) == COLOURS["red"]


def test_a_bar_on_a_terminal_only(trained, capfd, monkeypatch):
    files = [str(write_image(f"{number}.png")) for number in range(3)]
    options = ["--model_file", str(trained[0] / "net.mindir"), "--top_k", "1"]
    code, out, err = run([*files, "bad.png", *options], capfd)
    assert code == 1 and len(out.splitlines()) == 4 and without_outcome(err).count("\n") == 1 and "\r" not in out + err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    code, out, err = run([*files, *options], capfd)
    assert code == 0 and len(out.splitlines()) == 4 and "\r" not in out
    assert "\rpredicting:" in err and "/3 [" in err
