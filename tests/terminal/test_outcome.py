"""The last lines of every command."""

import os
import shlex
from pathlib import Path

import pytest

from src.models import list_models
from src.terminal.outcome import config_of, next_line, next_step, same_run, written_line

REPOSITORY = Path(__file__).resolve().parents[2]


def test_what_was_written():
    assert written_line("a.ckpt") == "written: a.ckpt"
    assert written_line(Path("out") / "a.ckpt", "1.9 MB") == "written: out/a.ckpt (1.9 MB)"


def test_the_next_command_is_one_that_a_shell_takes(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    line = next_line("eval.py", "--data", Path("my images"), "--checkpoint", "a.ckpt")
    assert line == "next: python eval.py --data 'my images' --checkpoint a.ckpt"
    monkeypatch.chdir(REPOSITORY / "src")
    _, _, script, *_ = shlex.split(next_line("eval.py"))
    assert script == "../eval.py" and Path(script).is_file()
    assert next_step("look at it") == "next: look at it"


def test_the_same_run():
    assert same_run({"output": "runs", "model": {"name": "x"}, "config": "a.yaml"}) == [
        *("--config", "a.yaml", "--output", "runs")
    ]
    assert same_run({}) == []


def test_configurations_by_name():
    for name in (*list_models(), "retinanet_ptnt_s", "mask_rcnn_ptnt_s"):
        assert os.path.isfile(config_of(name)), name
    assert config_of("other") == "CONFIG"


SCRIPTS = [path for path in sorted(REPOSITORY.glob("*.py")) if "run_command" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_command_ends_so(path):
    text = path.read_text(encoding="utf-8")
    assert "next_line(" in text or "next_step(" in text
    assert "written_line(" in text or path.name == "export.py"  # src/export tells it
    assert "wrote " not in text and "written into" not in text
