"""The command: from a checkpoint to pictures and a report, and one line for what is wrong."""

import os
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor
from PIL import Image

import visualize as command
from src.devices.device import set_up_device
from src.terminal.command import run_command
from src.weights.checkpoint import save_checkpoint
from src.weights.described_network import create_network
from src.weights.model_card import ModelCard

pytestmark = pytest.mark.usefixtures("equal_graphs")

TNT = {"depth": 3, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 8, "outer_num_heads": 2}
T2T = {"depth": 1, "token_dim": 4, "embed_dim": 8, "num_heads": 2}
PTNT = {
    "depths": [1, 1, 1, 1],
    "inner_dims": [2, 4, 4, 4],
    "inner_num_heads": [1, 2, 2, 2],
    "outer_dims": [8, 8, 8, 8],
    "outer_num_heads": [1, 2, 2, 4],
}
CONFIG = ["--device", "CPU"]  # and the demo's configuration, for the data
DIGITS = [str(digit) for digit in range(10)]


def save(name: str, arguments: dict, size: int = 32, classes: list[str] = DIGITS, channels: int = 3) -> str:
    mean = (0.5,) * channels
    card = ModelCard(name, arguments, classes, (size, size), channels, mean, mean, 1.0)
    set_up_device("CPU", 1, True)
    save_checkpoint("net.ckpt", create_network(card).get_parameters(), card)
    return "net.ckpt"


def run(argv: list[str], capfd) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of the command."""
    with pytest.raises(SystemExit) as end:
        run_command(partial(command.main, argv))
    captured = capfd.readouterr()
    return end.value.code, captured.out, captured.err


def written(folder: str) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def test_digits_of_the_best_checkpoint_by_default(capfd):
    save("tnt_ti_patch16_224", TNT)
    Path("output/ptnt_digits/checkpoints").mkdir(parents=True)
    os.replace("net.ckpt", "output/ptnt_digits/checkpoints/best.ckpt")
    code, out, err = run([*CONFIG, "--embedding", "pca", "--embedding_images", "40"], capfd)
    assert (code, err) == (0, "")
    folder = "output/ptnt_digits/pictures"
    of_images = [
        f"{n + 1}_digit_{n}/{kind}.png" for n in range(5) for kind in ("attention", "features", "rollout", "words")
    ]
    assert written(folder) == sorted([*of_images, "embedding.png", "positions.png", "report.html"])
    assert "embedding.png shows 40 validation images" in out
    assert out.endswith(f"written: {folder} (23 files)\nnext: open {folder}/report.html in a browser\n")
    for name in written(folder)[:-1]:
        with Image.open(f"{folder}/{name}") as picture:
            assert np.ptp(np.asarray(picture.convert("L"))) > 100
            assert os.path.getsize(f"{folder}/{name}") < 300_000


@pytest.mark.parametrize(
    "name,arguments,kinds",
    [
        ("ptnt_ti_patch16_192", PTNT, [*(f"attention_stage_{n}" for n in range(1, 5)), "features", "rollout", "words"]),
        ("t2t_vit_7", T2T, ["attention", "attention_token_layers", "features", "rollout"]),
        ("t2t_vit_dense", {**T2T, "growth_rate": 4, "block_config": [1, 1]}, None),
    ],
)
def test_families(name, arguments, kinds, capfd):
    if kinds is None:
        arguments.pop("depth")
        kinds = ["attention", "attention_token_layers", "features", "rollout"]
    checkpoint = save(name, arguments, size=64)
    Image.new("RGB", (70, 80), (90, 40, 200)).save("$5 \\q$.png")  # a title is no formula
    options = ["--checkpoint", checkpoint, "--folder", "out", "--embedding", "none", "--point", "[0.1, 0.9]"]
    code, _, err = run(["$5 \\q$.png", *CONFIG, *options], capfd)
    assert (code, err) == (0, "")
    assert written("out") == [*(f"1_$5 \\q$/{kind}.png" for kind in kinds), "positions.png", "report.html"]


def test_grey_images_and_other_classes(capfd):
    checkpoint = save("tnt_ti_patch16_224", TNT, classes=["cat", "dog"], channels=1)
    Path("broken.png").write_text("no image")
    code, out, err = run(["digits", "broken.png", *CONFIG, "--checkpoint", checkpoint, "--folder", "out"], capfd)
    assert code == 1 and "skipped: cannot read image broken.png" in err
    assert "left out embedding.png: the configuration's data has other classes" in out
    assert "embedding.png" not in written("out")


def test_a_report_that_cannot_hold_all_images_says_so(capfd, monkeypatch):
    monkeypatch.setattr("src.visualization.report.build_report.__defaults__", (1,))
    checkpoint = save("tnt_ti_patch16_224", TNT)
    _, out, _ = run([*CONFIG, "--checkpoint", checkpoint, "--embedding", "none", "--folder", "out"], capfd)
    assert "report.html holds the first 1 of 5 images" in out


@pytest.mark.parametrize(
    "options,message",
    [
        ([], "output/ptnt_digits/checkpoints/best.ckpt does not exist: train it with"),
        (["--checkpoint", "net.ckpt", "--blocks", "9"], "blocks: the network's are counted from 1 to 3, got 9"),
        (
            ["--checkpoint", "net.ckpt", "--point", "[0.5, 1.5]"],
            "point is 1.5: expected from 0 to 1",
        ),
        (["--checkpoint", "net.ckpt", "--folder", "net.ckpt"], "cannot write pictures to net.ckpt"),
        (
            ["--checkpoint", "net.ckpt", "--embedding", "umap"],
            "embedding: expected 'tsne' or 'pca' or 'none', got umap",
        ),
        (["--checkpoint", "net.ckpt", "--embedding_images", "2"], "at least 5 images, got 2"),
        (["--checkpoint", "nan.ckpt"], "outputs are not finite"),
    ],
)
def test_wrong_input_is_one_line(options, message, capfd):
    save("tnt_ti_patch16_224", TNT)
    if "nan.ckpt" in options:
        card = ModelCard("tnt_ti_patch16_224", TNT, DIGITS, (32, 32), 3, (0.5,) * 3, (0.5,) * 3, 1.0)
        net = create_network(card)
        net.head.bias.set_data(Tensor(np.full(10, np.nan, np.float32)))
        save_checkpoint("nan.ckpt", net.get_parameters(), card)
    code, _, err = run([*CONFIG, *options], capfd)
    assert code == 2 and err.count("\n") == 1
    assert re.search(message, err)
