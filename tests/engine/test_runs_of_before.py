"""A run that an earlier version began goes on as if nothing had changed.

`run_of_before/` was written by the version whose checkpoints call the best score `best_top1`; what it would have
recorded had it gone on stands here.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import eval as eval_script
import train as train_script
from src.weights.checkpoint import read_checkpoint

EXPECTED = [
    {"kind": "train", "step": 6, "loss": 2.3162431716918945, "learning_rate": 0.000505},
    {"kind": "eval", "step": 6, "loss": 2.2989749551216447, "top1": 6.25, "top5": 58.333333333333336, "images": 48},
]
EMA = {"ema_loss": 2.30009026103104, "ema_top1": 6.25, "ema_top5": 56.25}


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(Path(__file__).parent / "run_of_before", tmp_path, dirs_exist_ok=True)
    return tmp_path / "runs" / "tiny"


def test_it_goes_on(folder):
    before = (folder / "metrics.jsonl").read_text().splitlines()
    train_script.main(["--config", "tiny.yaml", "--resume"])
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert lines[: len(before)] == before
    found = [json.loads(line) for line in lines[len(before) :]]
    for entry, expected in zip(found, [EXPECTED[0], EXPECTED[1] | EMA], strict=True):
        for key, value in expected.items():
            assert entry[key] == (value if isinstance(value, str) else pytest.approx(value, abs=1e-5)), key
    best = read_checkpoint(folder / "checkpoints" / "best.ckpt")
    assert best.progress["best_score"] == 6.25 and best.progress["step"] == 3


def test_its_best_checkpoint_is_judged(folder):
    eval_script.main(["--config", "tiny.yaml", "--json", "scores.json"])
    scores = json.loads(Path("scores.json").read_text())
    assert (scores["top1"], scores["images"]) == (6.25, 48)
    assert scores["loss"] == pytest.approx(2.300350507068328, abs=1e-5)
    assert np.isfinite(scores["top5"])
