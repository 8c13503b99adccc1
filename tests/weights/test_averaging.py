"""The mean of checkpoints, and which of a run are averaged."""

import json

import numpy as np
import pytest

import average as average_script
from src.engine.best_checkpoints import best_checkpoints
from src.engine.run_folder import RunFolder
from src.errors import UserError
from src.weights.averaging import average_checkpoints
from src.weights.checkpoint import read_checkpoint, save_checkpoint
from src.weights.model_card import ModelCard

CARD = ModelCard("tnt_s_patch16_224", {}, ["cat", "dog"], (224, 224), 3, (0.5,) * 3, (0.5,) * 3, 0.9)


class Array:
    def __init__(self, name, values):
        self.name, self.values = name, np.array(values, np.float32)

    def asnumpy(self):
        return self.values


def save(path, values, card=CARD, step=None, **progress):
    state = [Array("adam_m.a", [9.0])]
    progress |= {} if step is None else {"step": step}
    save_checkpoint(path, [Array("a", values), Array("b", [[1.0]])], card, state, progress)
    return path


def test_the_mean(tmp_path):
    files = [save(tmp_path / f"{number}.ckpt", [number, 1e8]) for number in (1, 2, 6)]
    average_checkpoints(files, tmp_path / "mean.ckpt")
    found = read_checkpoint(tmp_path / "mean.ckpt")
    assert found.weights["a"].tolist() == [3.0, 1e8] and found.weights["a"].dtype == np.float32
    assert found.weights["b"].tolist() == [[1.0]] and not found.state and found.card == CARD


def test_what_cannot_be_averaged(tmp_path):
    first = save(tmp_path / "1.ckpt", [1.0])
    other_card = ModelCard(**{**vars(CARD), "classes": ["dog", "cat"]})
    wrong = [
        ([first], "expected at least two checkpoints to average, got 1"),
        ([first, save(tmp_path / "2.ckpt", [1.0], other_card)], "2.ckpt is of another network, or for other labels"),
        ([first, save(tmp_path / "3.ckpt", [1.0, 2.0])], "3.ckpt has other arrays than .*1.ckpt"),
    ]
    for files, message in wrong:
        with pytest.raises(UserError, match=message):
            average_checkpoints(files, tmp_path / "mean.ckpt")
    assert not (tmp_path / "mean.ckpt").exists()


def test_the_mean_remembers_how_its_images_were_divided(tmp_path):
    divisions = [{"val_split": 0.1, "seed": seed, "images": "x"} for seed in (1, 1, 2)]
    files = [save(tmp_path / f"{k}.ckpt", [k], training_data=divided) for k, divided in enumerate(divisions)]
    average_checkpoints(files[:2], tmp_path / "mean.ckpt")
    assert read_checkpoint(tmp_path / "mean.ckpt").progress == {"training_data": divisions[0]}
    for others in (files[2], save(tmp_path / "3.ckpt", [1.0], step=5), save(tmp_path / "4.ckpt", [1.0])):
        with pytest.raises(UserError, match="was trained on other images than .*0.ckpt, as data.val_split divides"):
            average_checkpoints([files[0], others], tmp_path / "other.ckpt")
    average_checkpoints([tmp_path / "3.ckpt", tmp_path / "4.ckpt"], tmp_path / "mean.ckpt")
    assert read_checkpoint(tmp_path / "mean.ckpt").progress == {"training_data": {}}


@pytest.fixture
def run(tmp_path):
    """A run whose third evaluation is the best; the first checkpoint was dropped."""
    folder = RunFolder(tmp_path, "run")
    folder.checkpoints.mkdir(parents=True)
    for step in (4, 6):
        save(folder.checkpoint_of(step), [step], step=step)
    save(folder.last, [8.0], step=8)
    scores = {2: 99.0, 4: 50.0, 6: 70.0, 8: 50.0}
    lines = [{"kind": "eval", "step": step, "epoch": 1, "top1": score, "loss": 1.0} for step, score in scores.items()]
    folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_best_of_a_run(run):
    assert best_checkpoints(run, 2) == [(70.0, run.checkpoint_of(6)), (50.0, run.last)]
    with pytest.raises(UserError, match="has 3 checkpoints that were evaluated, expected 4: train with train.keep"):
        best_checkpoints(run, 4)


def test_the_command(run, tmp_path, capsys):
    average_script.main(["--run", str(run.path), "--best", "2", "--output", str(tmp_path / "mean.ckpt")])
    assert read_checkpoint(tmp_path / "mean.ckpt").weights["a"].tolist() == [7.0]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == f"written: {tmp_path / 'mean.ckpt'} (the mean of 2 checkpoints)"
    assert lines[-1].endswith(f"eval.py --config {run.config} --checkpoint {tmp_path / 'mean.ckpt'}")
    for wrong in ([], ["a.ckpt", "b.ckpt", "--run", "x"]):
        with pytest.raises(UserError, match="expected either checkpoints or --run DIR"):
            average_script.main([*wrong, "--output", "mean.ckpt"])
    with pytest.raises(UserError, match="ends in .ckpt"):
        average_script.main(["a.ckpt", "b.ckpt", "--output", "mean.onnx"])
