"""Which files a run keeps, with weights that say at which step they were saved."""

import numpy as np
import pytest
from mindspore import Parameter, Tensor

from src.engine.checkpoint_keeper import CheckpointKeeper
from src.engine.run_folder import RunFolder
from src.weights.checkpoint import read_checkpoint
from src.weights.model_card import ModelCard

CARD = ModelCard("tnt_ti_patch16_224", {}, ["a"], (224, 224), 3, (0.5,) * 3, (0.5,) * 3, 0.9)


class Run:
    """Saves `last.ckpt` at steps, and `best.ckpt` where a score is given."""

    def __init__(self, keep=2):
        self.folder = RunFolder("runs", "tiny")
        self.keeper = CheckpointKeeper(self.folder, CARD, keep)

    def save(self, step, score=None, confirmed=True):
        weights = [Parameter(Tensor(np.full(3, step, np.float32)), name="w")]
        progress = {"step": step, "best_score": score or 0.0}
        self.keeper.save_last(weights, weights, progress)
        if score is not None:
            self.keeper.save_best(weights, progress)
        if confirmed:
            self.keeper.confirm()

    def files(self):
        """Name -> step of its weights."""
        found = {path.name: read_checkpoint(path) for path in self.folder.checkpoints.iterdir()}
        assert all(content.weights["w"][0] == content.progress["step"] for content in found.values())
        return {name: content.progress["step"] for name, content in found.items()}


@pytest.mark.parametrize("keep,earlier", [(1, []), (2, [4]), (3, [4, 2])])
def test_the_latest_are_kept(keep, earlier):
    run = Run(keep)
    for step in (2, 4, 6):
        run.save(step)
    assert run.files() == {"last.ckpt": 6, **{f"step_{step:09d}.ckpt": step for step in earlier}}


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_a_checkpoint_that_proves_bad_gives_its_place_back(keep):
    """Also where only one is kept: the one before stays until its successor has proved to be good."""
    run = Run(keep)
    run.save(2)
    run.save(4)
    run.save(6, confirmed=False)
    run.keeper.withdraw()
    assert run.files()["last.ckpt"] == 4 and run.keeper.last_step == 4
    run.keeper.withdraw()  # nothing is in doubt any more
    assert run.files()["last.ckpt"] == 4
    run.save(6)
    assert run.files()["last.ckpt"] == 6


def test_the_only_checkpoint_goes_where_it_proves_bad():
    run = Run()
    run.save(2, confirmed=False)
    run.keeper.withdraw()
    assert run.files() == {} and run.keeper.last_step is None


def test_a_replaced_best_stays_while_the_run_can_return_before_the_new_one():
    run = Run(keep=2)
    run.save(2, score=50.0)
    run.save(4, score=70.0)
    assert run.files() == {"last.ckpt": 4, "step_000000002.ckpt": 2, "best.ckpt": 4, "best_step_000000002.ckpt": 2}
    run.save(6)
    assert run.files() == {"last.ckpt": 6, "step_000000004.ckpt": 4, "best.ckpt": 4}


def test_a_better_score_at_the_same_step_replaces_it():
    """Of the moving average, which is evaluated after the weights."""
    run = Run()
    run.save(2, score=50.0)
    run.save(2, score=60.0)
    assert run.files() == {"last.ckpt": 2, "best.ckpt": 2}
    assert run.keeper.find_best(2).progress["best_score"] == 60.0


def test_returning_to_a_step_brings_its_best_back():
    run = Run(keep=3)
    for step, score in ((2, 50.0), (4, None), (6, 70.0)):
        run.save(step, score)
    again = CheckpointKeeper(run.folder, CARD, 3)
    assert again.find_best(4).progress == {"step": 2, "best_score": 50.0}
    assert again.find_best(6).progress == {"step": 6, "best_score": 70.0}
    assert again.return_to(6) == [] and run.files()["best.ckpt"] == 6
    assert again.return_to(4) == [
        "runs/tiny/checkpoints/best.ckpt is that of step 2 again; the other was of a later step"
    ]
    assert run.files()["best.ckpt"] == 2 and "best_step_000000002.ckpt" not in run.files()


def test_returning_before_every_best_leaves_none():
    run = Run()
    run.save(2)
    run.save(4, score=50.0)
    again = CheckpointKeeper(run.folder, CARD, 2)
    assert again.find_best(2) is None
    assert "removed runs/tiny/checkpoints/best.ckpt, which is of a step that this run no longer has" in again.return_to(
        2
    )
    assert "best.ckpt" not in run.files() and again.best_step is None


def test_other_processes_take_note_and_write_nothing():
    run = Run()
    run.save(2)
    before = run.files()
    other = CheckpointKeeper(run.folder, CARD, 2, last_step=2, writes=False)
    other.save_last([], [], {"step": 4})
    assert other.last_step == 4 and run.files() == before
    other.withdraw()
    assert run.files() == before
