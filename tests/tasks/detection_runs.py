"""Runs of tiny detectors, for the tests of every kind: each is held against a finished run of the same folder.

A folder has tiny.yaml, scenes/, and the finished run in runs/tiny.
"""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

import train as train_script
from src.engine.training import Training
from src.terminal.stop_request import Stopped
from src.weights.checkpoint import read_checkpoint
from tests.devices.test_ranks import REPOSITORY, launch

CONFIG = """
model:
  name: retinanet_ptnt_ti
  image_size: 96
  drop_path_rate: 0.1
  batch_norm: frozen
  structure:
    table_size: 64
    anchor_scale: 2.0
    fpn_channels: 8
    stacked_convs: 1
    backbone:
      depths: [1, 1, 1, 1]
      inner_dims: [4, 4, 4, 4]
      inner_num_heads: [1, 1, 1, 1]
      outer_dims: [8, 8, 8, 8]
      outer_num_heads: [2, 2, 2, 2]
data: {source: coco, root: scenes, flip_prob: 0.5, short_sides: [64, 96], long_side: 96, workers: 0}
optimizer: {lr: 1e-3}
schedule: {decay: step, decay_epochs: [1], warmup_steps: 2, epochs: 2, cooldown_epochs: 0}
train: {batch_size: 2, log_every: 1, ema_decay: 0.9, save_every: 2}
compiler_cache: false
output: runs
"""
EDITS = "scenes/annotations/instances_train2017.json"

other_ways = pytest.mark.parametrize(
    "options",
    [
        ["--train.precision", "float16"],
        ["--train.recompute", "true"],
        ["--train.batch_size", "1", "--train.accumulate", "2"],
    ],
    ids=["half precision", "recomputed", "accumulated"],
)


def metrics(run, kind):
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [entry for entry in entries if entry["kind"] == kind]


def last(run):
    return read_checkpoint(run / "checkpoints" / "last.ckpt")


def assert_same(one, other, bound=0.0):
    for part in ("weights", "state"):
        values, others = getattr(one, part), getattr(other, part)
        assert values.keys() == others.keys()
        for name, value in values.items():
            np.testing.assert_allclose(value, others[name], rtol=0, atol=bound, err_msg=name)


def edit(change, path=EDITS):
    content = json.loads(Path(path).read_text())
    change(content)
    Path(path).write_text(json.dumps(content))


def stop_and_go_on(folder: Path, step: int) -> None:
    """A run that is stopped after a step and goes on, with workers, ends with the same bits."""
    check_finite = Training._check_finite

    def stop(self, loss):
        check_finite(self, loss)
        if self.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    options = ["--config", "tiny.yaml", "--output", "parts"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "_check_finite", stop)
        with pytest.raises(Stopped):
            train_script.main(options)
    assert last(folder / "parts" / "tiny").progress["step"] == step
    train_script.main([*options, "--resume", "--data.workers", "2"])
    assert_same(last(folder / "parts" / "tiny"), last(folder / "runs" / "tiny"))


def train_otherwise(folder: Path, options: list[str]) -> None:
    """The first loss is the same. Micro-batches have their own numbers of positives: theirs is near."""
    train_script.main(["--config", "tiny.yaml", "--output", "other", "--schedule.epochs", "1", *options])
    ours, theirs = (metrics(folder / run / "tiny", "train")[0]["loss"] for run in ("other", "runs"))
    assert ours == pytest.approx(theirs, rel=0.1 if "--train.accumulate" in options else 1e-3)


def train_on_two_ranks(folder: Path, score: str) -> None:
    """Two ranks with half of each batch train as one, and judge every image once."""
    options = ["--config", "tiny.yaml", "--train.batch_size", "1", "--output", "both"]
    launch(2, REPOSITORY / "train.py", *options, folder=folder)
    assert_same(last(folder / "both" / "tiny"), last(folder / "runs" / "tiny"), 1e-5)
    both, alone = (metrics(folder / run / "tiny", "eval") for run in ("both", "runs"))
    for one, other in zip(both, alone, strict=True):
        assert one[score] == pytest.approx(other[score], abs=1e-3) and one["images"] == other["images"] == 3
