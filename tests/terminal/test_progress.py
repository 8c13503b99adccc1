"""Bars of one process on the terminal of another."""

import os
import sys

import pytest

from src.terminal import progress as module
from src.terminal.progress import FollowedProgress, Progress, tell_line
from src.terminal.progress_file import VARIABLE, BarState, ProgressFile, read_progress


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Of the file that the bars of this process are written to, at once."""
    monkeypatch.setattr("src.terminal.progress_file.INTERVAL", 0.0)
    path = tmp_path / "progress.json"
    file = ProgressFile.of({VARIABLE: str(path)})
    monkeypatch.setattr(module, "_file", lambda: file)
    return path


def test_bars_are_written_while_they_are_open(path):
    with Progress("train", 64, done=16) as train:
        train.advance(8, "loss 1.5")
        assert read_progress(path) == [BarState("train", 64, 16, 24, "loss 1.5")]
        with Progress("evaluate", 10):
            assert [bar.desc for bar in read_progress(path)] == ["train", "evaluate"]
        assert [bar.desc for bar in read_progress(path)] == ["train"]
    assert read_progress(path) == []


def test_a_rank_that_is_not_shown_writes_nothing(path):
    with Progress("train", 64, shown=False) as train:
        train.advance(8)
    assert not path.exists()


def test_the_follower_draws_what_is_open(capsys):
    follower = FollowedProgress()
    follower.look()  # before there is a file
    state, file = BarState("train", 64, 0, 16, "loss 1.5"), ProgressFile(follower.path)
    file.open(state)
    follower.look()
    state.n = 32
    file.write()
    follower.look()
    file.open(BarState("evaluate", 8, 0, 0))
    follower.look()
    shown = capsys.readouterr().err
    assert "25%" in shown and "loss 1.5" in shown and "evaluate:   0%" in shown
    follower.close()
    assert not follower.path.parent.exists()


def test_another_bar_of_the_same_name_begins_anew():
    first, second = BarState("evaluate", 8, 0, 6), BarState("evaluate", 8, 0, 1)
    assert not second.continues(first) and first.continues(first)


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path):
    ProgressFile(tmp_path / "missing" / "progress.json").open(BarState("train", 1, 0, 0))


def test_a_reader_that_has_gone_ends_nothing(tmp_path, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        tell_line("one")
        tell_line("two")
