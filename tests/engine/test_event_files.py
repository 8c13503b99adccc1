"""Which scalars event files get, and the error where the package is missing.

The package is an extra, so that its writer is replaced by a recorder here.
"""

import sys
from types import SimpleNamespace

import pytest

from src.engine.event_files import EventFiles
from src.errors import UserError


def test_without_the_package_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-tensorboard.txt, or leave it off") as error:
        EventFiles(tmp_path)
    assert "\n" not in str(error.value)


class Recorder:
    def __init__(self, folder):
        self.folder, self.scalars, self.flushed = folder, [], 0

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def flush(self):
        self.flushed = len(self.scalars)


def test_an_entrys_numbers_become_scalars_at_its_step(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=Recorder))
    files = EventFiles(tmp_path / "events")
    files.add({"kind": "train", "step": 3, "epoch": 0.5, "loss": 2.25})
    files.add({"kind": "eval", "step": 6, "top1": 50.0, "images": 360})
    writer = files._writer
    assert writer.folder == str(tmp_path / "events")
    assert writer.scalars == [("train/epoch", 0.5, 3), ("train/loss", 2.25, 3), ("eval/top1", 50.0, 6)]
    assert writer.flushed == 3  # whoever watches sees them at once
