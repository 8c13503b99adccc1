"""What a checkpoint says about its network, against data, configurations and options that say otherwise.

Twelve classes of one colour each in folders "0" to "11", which sort as text: 0, 1, 10, 11, 2, ...
"""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import eval as eval_script
import predict as predict_script
import train as train_script
from src.errors import UserError
from src.terminal.command import run_command
from src.weights.checkpoint import read_checkpoint, save_checkpoint
from src.weights.described_network import create_network

pytestmark = pytest.mark.usefixtures("equal_graphs")

CONFIG = """
model:
  name: tnt_ti_patch16_224
  image_size: 32
  drop_path_rate: 0.0
  structure: {depth: 2, inner_dim: 8, inner_num_heads: 2, outer_dim: 48, outer_num_heads: 3}
data: {source: folder, root: data, crop_scale: [1.0, 1.0], flip_prob: 0.0, crop_pct: 1.0, workers: 0}
optimizer: {lr: 3e-3}
schedule: {epochs: 12, warmup_epochs: 1, warmup_lr: 1e-3, cooldown_epochs: 0}
train: {batch_size: 12, label_smoothing: 0.0, eval_every: 6}
output: runs
"""
BEST = "runs/colors/checkpoints/best.ckpt"
NAMES = [str(number) for number in range(12)]
EVAL = ["--config", "colors.yaml", "--checkpoint", "net.ckpt", "--json", "scores.json"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """colors.yaml, its data and its run, which reaches 100 %."""
    folder = tmp_path_factory.mktemp("colors")
    (folder / "colors.yaml").write_text(CONFIG)
    random = np.random.default_rng(0)
    for number, name in enumerate(NAMES):
        color = [255 * (number >> bit & 1) for bit in range(3)] if number < 8 else [90 + 40 * (number - 8), 128, 60]
        for split, count in (("train", 12), ("val", 4)):
            (folder / "data" / split / name).mkdir(parents=True)
            for index in range(count):
                noisy = np.clip(np.full((32, 32, 3), color) + random.integers(-9, 10, 3), 0, 255)
                Image.fromarray(noisy.astype(np.uint8)).save(folder / "data" / split / name / f"{index}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_script.main(["--config", "colors.yaml"])
        shutil.copy(BEST, "net.ckpt")
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def evaluate(*more):
    eval_script.main([*EVAL, *more])
    with open("scores.json") as file:
        return json.load(file)["top1"]


def rename_labels(names, order=None):
    """net.ckpt with other labels, and the head's rows in another order."""
    content = read_checkpoint("net.ckpt")
    order = list(range(len(names))) if order is None else order
    net = create_network(content.card)
    for parameter in net.get_parameters():
        value = content.weights[parameter.name]
        parameter.set_data(type(parameter)(value[order] if parameter.name.startswith("head.") else value))
    save_checkpoint("net.ckpt", net.get_parameters(), replace(content.card, classes=list(names)))


def rename_folders(split, names):
    for old, new in names.items():
        shutil.move(f"data/{split}/{old}", f"data/{split}/{new}")


def test_as_trained(folder):
    assert evaluate() == 100


def test_a_label_that_the_checkpoint_does_not_know_is_refused(folder):
    shutil.rmtree("data/train")
    rename_folders("val", {"0": "99"})
    with pytest.raises(UserError, match="1 label that net.ckpt does not know: 99; it knows 0, 1, 10, 11, 2 and 7 more"):
        evaluate()


def test_a_head_in_natural_order(folder, capsys):
    """Numbered folders are matched by name, although the numbers look like placeholders."""
    head = read_checkpoint("net.ckpt").card.classes
    assert head == sorted(NAMES)
    rename_labels(NAMES, [head.index(name) for name in NAMES])
    assert evaluate() == 100
    assert "the data has the 12 labels of net.ckpt in another order: matched by name" in capsys.readouterr().out


def test_a_subset_of_the_classes(folder, capsys):
    shutil.rmtree("data/train")
    shutil.rmtree("data/val/3")
    assert evaluate() == 100
    assert "11 of the 12 labels of net.ckpt, matched by name" in capsys.readouterr().out


def test_placeholders_take_the_names_of_the_data(folder, capsys):
    letters = dict(zip(sorted(NAMES), "abcdefghijkl", strict=True))
    rename_labels(NAMES)
    rename_folders("train", letters)
    rename_folders("val", letters)
    assert evaluate() == 100
    assert "numbers its 12 labels and does not name them: they are taken to be the data's" in capsys.readouterr().out


def test_the_embedding_matches_labels_by_name(folder):
    from src.config import load_config
    from src.tasks.trained_network import open_trained_network
    from src.visualization.picture_folder import PictureFolder
    from src.visualization.pictures import draw_class_features

    trained = open_trained_network(folder / "net.ckpt", load_config("colors.yaml"))
    shuffled = replace(trained, card=replace(trained.card, classes=NAMES))
    config = load_config("colors.yaml")
    assert "48 validation images" in draw_class_features(shuffled, config, PictureFolder("pictures"), "pca", 1000)
    other = replace(trained, card=replace(trained.card, classes=[f"x{name}" for name in NAMES]))
    line = draw_class_features(other, config, PictureFolder("pictures"), "pca", 1000)
    assert line.startswith("left out embedding.png: the configuration's data has other classes")


STRUCTURE = ["--model.structure", "{outer_num_heads: 1, inner_num_heads: 1}"]
NAMED = r"inner_num_heads: 2 and 1; outer_num_heads: 3 and 1"


@pytest.mark.parametrize("more", [[], ["--config", "colors.yaml"]])
@pytest.mark.parametrize(
    "options,named",
    [
        (STRUCTURE, NAMED),
        (["--model.se", "true"], "se: False and True"),
        (["--model.name", "t2t_vit_14"], "model: tnt_ti_patch16_224 and t2t_vit_14"),
        (["--model.name", "tnt_s_patch16_224", "--model.structure.inner_stride", "2"], "inner_stride: 4 and 2"),
        (["--model.structure.inner_blocks", "[2]"], r"inner_blocks: None and \(2\)"),
        (["--model.in_channels", "1"], "in_channels: 3 and 1"),
        (["--model.num_classes", "7"], "num_classes: 12 and 7"),
    ],
)
def test_another_network_is_refused_and_named(folder, more, options, named):
    """By every command that opens a checkpoint, with and without a configuration."""
    for script, arguments in ((eval_script, ["--data", "data"]), (predict_script, ["data/val/3/0.png"])):
        with pytest.raises(UserError, match=f"net.ckpt holds another network than .* describes .*{named}.*: the file"):
            script.main([*arguments, "--checkpoint", "net.ckpt", *more, *options])


def test_another_network_in_the_configuration_is_refused(folder):
    (folder / "other.yaml").write_text(CONFIG.replace("outer_num_heads: 3", "outer_num_heads: 1"))
    with pytest.raises(UserError, match="the configuration other.yaml describes .outer_num_heads: 3 and 1."):
        eval_script.main(["--config", "other.yaml", "--checkpoint", "net.ckpt"])


def test_evaluation_without_a_configuration_takes_the_card(folder):
    """The demo's configuration, which is then in force, describes another network with other preparation."""
    options = ["--data", "data", "--data.workers", "0", "--train.batch_size", "12", "--json", "scores.json"]
    eval_script.main(["--checkpoint", "net.ckpt", *options])
    assert json.loads((folder / "scores.json").read_text())["top1"] == 100


def test_preparation_is_the_card_s_unless_the_command_line_gives_it(folder, capsys):
    (folder / "cropped.yaml").write_text(CONFIG.replace("crop_pct: 1.0", "crop_pct: 0.5"))
    eval_script.main(["--config", "cropped.yaml", "--checkpoint", "net.ckpt", "--data.crop_pct", "1.0"])
    assert "crop_pct" not in capsys.readouterr().out
    eval_script.main(["--config", "cropped.yaml", "--checkpoint", "net.ckpt"])
    assert "crop_pct" not in capsys.readouterr().out
    eval_script.main(["--config", "cropped.yaml", "--checkpoint", "net.ckpt", "--data.crop_pct", "0.25"])
    assert "crop_pct 0.25, as the command line says; the file's: 1" in capsys.readouterr().out
    eval_script.main(["--config", "colors.yaml", "--checkpoint", "net.ckpt", "--model.image_size", "64"])
    out = capsys.readouterr().out
    assert "images of 64 x 64 pixels, as the configuration says; the file's: 32 x 32" in out
    assert "resized outer_pos: (1, 5, 48) to (1, 17, 48)" in out


def test_resuming_with_other_labels_is_refused(folder):
    last = (folder / "runs/colors/checkpoints/last.ckpt").read_bytes()
    rename_folders("train", {"0": "z"})
    rename_folders("val", {"0": "z"})
    for more in ([], ["--allow_changes", "--schedule.epochs", "13"]):
        with pytest.raises(
            UserError, match=r"other labels than .*last.ckpt was trained for: 1 label new \(z\) and 1 l"
        ):
            train_script.main(["--config", "colors.yaml", "--resume", *more])
    assert (folder / "runs/colors/checkpoints/last.ckpt").read_bytes() == last


def test_resuming_another_network_is_refused(folder):
    options = ["--config", "colors.yaml", "--resume", "--allow_changes", *STRUCTURE, "--schedule.epochs", "13"]
    with pytest.raises(UserError, match=f"last.ckpt holds another network than the configuration .*{NAMED}"):
        train_script.main(options)


def test_resuming_with_the_labels_in_another_order(folder, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.data.image_folder._class_folders", lambda path, layout: (NAMES, []))
        train_script.main(["--config", "colors.yaml", "--resume", "--allow_changes", "--schedule.cooldown_epochs", "1"])
    assert "last.ckpt in another order: matched by name" in capsys.readouterr().out
    resumed = read_checkpoint("runs/colors/checkpoints/last.ckpt")
    assert resumed.progress["step"] == 13 * 12 and resumed.card.classes == sorted(NAMES)
    shutil.copy("runs/colors/checkpoints/last.ckpt", "net.ckpt")
    assert evaluate() == 100


INIT = ["--config", "colors.yaml", "--init_from", "net.ckpt", "--output", "new", "--limit_batches", "1"]


def test_init_from_another_structure_is_refused(folder):
    with pytest.raises(UserError, match=f"net.ckpt holds another network than this run trains .{NAMED}"):
        train_script.main([*INIT, *STRUCTURE])


def test_init_from_takes_rows_by_name(folder, capsys):
    """Renamed labels get rows of their own; with the others' rows the colours are known before any training."""
    rename_labels(NAMES, [sorted(NAMES).index(name) for name in NAMES])
    train_script.main([*INIT, "--schedule.epochs", "1", "--schedule.warmup_lr", "0", "--schedule.min_lr", "0"])
    out = capsys.readouterr().out
    assert "the head is taken over by name for 12 of the data's 12 labels" in out
    options = ["--checkpoint", "new/colors/checkpoints/last.ckpt", "--json", "scores.json"]
    eval_script.main(["--config", "colors.yaml", *options])
    assert json.loads((folder / "scores.json").read_text())["top1"] == 100


def test_wrong_network_ends_in_one_line(folder, capsys):
    with pytest.raises(SystemExit) as end:
        run_command(lambda: eval_script.main([*EVAL, *STRUCTURE]))
    err = capsys.readouterr().err
    assert end.value.code == 2 and err.count("\n") == 1 and err.startswith("error: net.ckpt holds another network")
