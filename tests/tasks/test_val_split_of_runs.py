"""A run on one folder of classes: every command judges it on the images that it has not seen, or refuses to."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eval as eval_script
import features as features_script
import train as train_script
from src.config import load_config
from src.data.image_folder import ImageFolder
from src.data.val_split import ValSplit
from src.engine.run_folder import RunFolder
from src.engine.training import Training
from src.errors import UserError
from src.tasks.classification import Classification
from src.weights.checkpoint import read_checkpoint

pytestmark = pytest.mark.usefixtures("equal_graphs")

CONFIG = """
model:
  name: tnt_ti_patch16_224
  image_size: 16
  drop_path_rate: 0.0
  structure: {depth: 1, inner_dim: 4, inner_num_heads: 2, outer_dim: 16, outer_num_heads: 2}
data: {source: folder, root: images, val_split: 0.3, workers: 0}
schedule: {epochs: 1, warmup_epochs: 0, cooldown_epochs: 0}
train: {batch_size: 4}
seed: 7
output: runs
"""
BEST, LAST = "runs/tiny/checkpoints/best.ckpt", "runs/tiny/checkpoints/last.ckpt"
EVAL = ["--config", "tiny.yaml", "--json", "scores.json"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """tiny.yaml, its images and its finished run."""
    folder = tmp_path_factory.mktemp("divided")
    (folder / "tiny.yaml").write_text(CONFIG)
    random = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (folder / "images" / name).mkdir(parents=True)
        for index in range(10):
            Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(
                folder / "images" / name / f"{index}.png"
            )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_script.main(["--config", "tiny.yaml"])
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_what_the_run_saves(folder):
    saved = load_config("runs/tiny/config.yaml")
    assert (saved.data.val_split, saved.seed) == (0.3, 7)
    log = Path("runs/tiny/train.log").read_text()
    assert "14 training and 6 validation images" in log and "data.val_split 0.3 and seed 7 choose what validates" in log
    division = ImageFolder("images", "val", val_split=ValSplit(0.3, 7)).division
    for path in (BEST, LAST):
        assert read_checkpoint(path).progress["training_data"] == vars(division)


def test_evaluation_has_the_split_of_the_run(folder, capsys):
    eval_script.main(EVAL)
    scores = json.loads(Path("scores.json").read_text())
    last = [json.loads(line) for line in Path("runs/tiny/metrics.jsonl").read_text().splitlines()][-1]
    assert scores["images"] == last["images"] == 6
    assert scores["loss"] == pytest.approx(last["loss"], abs=1e-5)
    eval_script.main(["--config", "runs/tiny/config.yaml", "--data.root", "images", "--checkpoint", BEST])
    assert "6 validation images" in capsys.readouterr().out


def test_a_list_of_the_same_images_has_the_same_split(folder):
    files = sorted(path.relative_to("images") for path in Path("images").glob("*/*.png"))
    Path("all.csv").write_text("".join(f"{file},{file.parent}\n" for file in files))
    eval_script.main(EVAL)
    scores = Path("scores.json").read_text()
    eval_script.main([*EVAL, "--data.source", "list", "--data.train_list", "all.csv"])
    assert Path("scores.json").read_text() == scores


@pytest.mark.parametrize("wrong", [["--seed", "8"], ["--data.val_split", "0.2"]])
def test_another_split_is_refused(folder, wrong):
    with pytest.raises(UserError, match="was trained with --data.val_split 0.3 --seed 7, here they are"):
        eval_script.main([*EVAL, *wrong])
    with pytest.raises(UserError, match="was trained with --data.val_split 0.3 --seed 7, here they are"):
        features_script.main(["--config", "tiny.yaml", "--npz", "features.npz", *wrong])
    again = ["--config", "tiny.yaml", *wrong]
    with pytest.raises(UserError, match="the configuration differs from"):
        train_script.main([*again, "--resume"])
    with pytest.raises(UserError, match="was trained with --data.val_split 0.3 --seed 7"):
        train_script.main([*again, "--resume", "--allow_changes"])
    with pytest.raises(UserError, match="was trained with --data.val_split 0.3 --seed 7"):
        train_script.main([*again, "--output", "others", "--init_from", BEST])
    assert not Path("scores.json").exists() and not Path("others").exists()


def test_other_images_are_refused(folder):
    shutil.copy("images/ant/1.png", "images/ant/new.png")
    with pytest.raises(UserError, match="was trained on a part of other images than data.val_split divides here"):
        eval_script.main(EVAL)
    Path("images/ant/new.png").unlink()
    shutil.move("images", "moved")
    eval_script.main([*EVAL, "--data", "moved"])


def test_a_run_without_it_is_not_judged_by_it(folder):
    shutil.copytree("images", "both/train")
    shutil.copytree("images", "both/val")
    with_folders = ["--config", "tiny.yaml", "--data", "both", "--data.val_split", "null", "--output", "others"]
    train_script.main(with_folders)
    best = "others/tiny/checkpoints/best.ckpt"
    assert read_checkpoint(best).progress["training_data"] == {}
    with pytest.raises(UserError, match="was trained without data.val_split, which is 0.3 here"):
        eval_script.main([*EVAL, "--checkpoint", best])
    eval_script.main([*EVAL, "--checkpoint", BEST, "--data", "both", "--data.val_split", "null"])


def test_ranks_compare_it(folder):
    facts = []
    for seed in (7, 8):
        config = load_config("tiny.yaml")
        config.seed = seed
        task = Classification(config)
        task.open_for_training(None)
        facts.append(task.facts())
    assert facts[0]["names of the validation images"] != facts[1]["names of the validation images"]


def test_it_resumes(folder):
    config = load_config("tiny.yaml")
    config.schedule.cooldown_epochs = 1
    Training(config, RunFolder(config.output, "tiny"), resume="auto", allow_changes=True).run()
    assert read_checkpoint(LAST).progress["training_data"]["seed"] == 7
