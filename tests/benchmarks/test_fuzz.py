"""Damaged and hostile inputs, a few thousand of them; benchmarks/fuzz.py feeds any number."""

from pathlib import Path

import pytest

from benchmarks import fuzz
from benchmarks.fuzz_targets import TARGETS
from benchmarks.fuzz_targets.target import SilentChange
from src.errors import TemporaryError, UserError


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name,count",
    [
        ("ckpt", 3000),
        ("card", 1000),
        ("sidecar", 1000),
        ("config", 500),
        ("options", 200),
        ("images", 300),
        ("annotations", 1000),
        ("classes", 1000),
        ("image-list", 1000),
        ("detector", 500),
        ("detector-sidecar", 500),
    ],
)
def test_nothing_crashes_and_nothing_is_changed(tmp_path, name, count):
    counts = fuzz.fuzz(TARGETS[name](tmp_path), count, seed=1)
    assert not fuzz.failures(counts) and counts["refused"] > count // 10 and counts["accepted"] > count // 100


class Odd:
    """Refuses, accepts, changes silently, says too much, asks to try again, and fails."""

    def __init__(self, folder: Path):
        self.endings = [UserError("no"), None, SilentChange("1 became 2"), UserError("two\nlines"), KeyError("x")]
        self.endings.append(TemporaryError("later"))

    def draw(self, random):
        return random.randrange(len(self.endings))

    def read(self, mutant):
        if self.endings[mutant] is not None:
            raise self.endings[mutant]


def test_failures_are_counted_and_end_with_1(monkeypatch, capsys):
    monkeypatch.setitem(TARGETS, "odd", Odd)
    assert fuzz.main(["odd", "--count", "100"]) == 1
    out = capsys.readouterr().out
    told = ("KeyError", "SilentChange", "message of several lines", "exit code 75", "refused", "accepted")
    assert all(text in out for text in told) and out.count("\nnumber ") == fuzz.SHOWN - 1
    assert fuzz.main(["ckpt", "--count", "100"]) == 0


def test_an_answer_that_takes_long_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "LONGEST", 0)
    assert fuzz.failures(fuzz.fuzz(TARGETS["ckpt"](tmp_path), 1)) == ["answer after more than 0 s"]


def test_a_seed_gives_the_same_inputs(tmp_path):
    target = TARGETS["ckpt"](tmp_path)
    assert fuzz.fuzz(target, 200, seed=3) == fuzz.fuzz(target, 200, seed=3)
