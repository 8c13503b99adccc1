"""Processes that are timed in turns, and the scripts on top; no time is tested."""

import json
import os
import statistics
import time
from pathlib import Path

import pytest

from benchmarks import against_pytorch, int8_speed, throughput
from benchmarks.timed.process import ROOT, Round, TimedProcess
from benchmarks.written_table import END
from src.errors import UserError

TASK = """
import json, sys
from benchmarks.timed.loop import serve
task = json.loads(sys.argv[1])
print("a library says something")
count = [0]
def step():
    count[0] += 1
    print("and again", count)
    if count[0] > task["most"]:
        raise ValueError("too many steps")
serve(step, lambda: None, version="1.0")
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A process that counts its steps, in place of those of benchmarks/timed."""
    path = tmp_path / "counting.py"
    path.write_text(TASK)
    monkeypatch.setattr("benchmarks.timed.process.FOLDER", tmp_path)
    return "counting"


def test_steps_on_request_and_standing_still_between(script):
    with TimedProcess(script, {"most": 100}) as process:
        assert process.facts == {"version": "1.0"}
        for count in (3, 1):
            found = process.run(count)
            assert len(found.times) == count and found.product_rate > 0 and found.peak_memory > 2**20
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        for _ in range(100):
            state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "T":
                break
            time.sleep(0.01)
        assert state == "T"
    assert not Path(f"/proc/{process.pid}").exists()


def test_a_process_that_ends_is_told_with_its_last_line(script):
    with TimedProcess(script, {"most": 3}) as process:
        process.run(1)
        with pytest.raises(UserError, match="the process counting ended with 1: ValueError: too many steps"):
            process.run(5)
    with pytest.raises(UserError, match="ended with 1: ValueError"):
        TimedProcess(script, {"most": 0})


def test_throughput(tmp_path, monkeypatch, capsys):
    """Two batch sizes of the smallest variant; the table of the document is replaced."""
    monkeypatch.chdir(tmp_path)
    Path("results.md").write_text(f"# Results\n<!-- written by benchmarks/throughput.py -->\n{END}\n")
    throughput.main("t2t_vit_7 --batch_sizes 1 --rounds 1 --steps 2 --markdown results.md".split())
    lines = [line for line in Path("results.md").read_text().splitlines() if line.startswith("|")]
    assert lines[0] == "| variant | MindSpore, 1 | ONNX Runtime, 1 |"
    name, *rates = (cell.strip() for cell in lines[2].strip("|").split("|"))
    assert name == "`t2t_vit_7`" and all(float(rate) > 0 for rate in rates)
    assert lines[2].strip("| ").split(" | ")[1:] == capsys.readouterr().out.splitlines()[1].split(" | ")[1:]


def test_ratios():
    def runtime(*medians: float) -> against_pytorch.Runtime:
        return against_pytorch.Runtime("1", [Round([m, m / 2, m * 2], 1e9, 2**30) for m in medians], 0.0)

    found = {against_pytorch.EAGER: runtime(2.0, 3.0, 4.0), against_pytorch.OURS: runtime(1.0, 3.0, 8.0)}
    assert against_pytorch.ratios(found, against_pytorch.OURS) == [2.0, 1.0, 0.5]
    table = against_pytorch.table_of({("tnt_s_patch16_224", "inference"): found})
    rows = {row[2]: row for row in table.rows}
    assert rows[against_pytorch.OURS][5] == "1.00 (0.50 to 2.00)" and rows[against_pytorch.EAGER][5] == "1"
    times = [m * f for m in (1.0, 3.0, 8.0) for f in (1.0, 0.5, 2.0)]
    assert rows[against_pytorch.OURS][3] == f"{statistics.median(times):.3f} s"
    assert rows[against_pytorch.OURS][4] == "0.500 s" and rows[against_pytorch.OURS][7] == "1,024 MiB"


def test_what_pytorch_needs_is_told(tmp_path, monkeypatch):
    for options, message in (
        (["tnt_s"], "unknown"),
        (["ptnt_s_patch16_256"], "clone github.com/huawei-noah/Efficient-AI-Backbones and give --peer"),
        (["t2t_vit_14", "--peer", str(tmp_path)], "clone github.com/yitu-opensource/T2T-ViT"),
        (["tnt_s_patch16_224", "--python", "no/python"], "make an environment with PyTorch by 'python3 -m venv"),
        (["tnt_s_patch16_224", "--steps", "0"], "expected a whole number from 1"),
    ):
        with pytest.raises(UserError, match=message):
            against_pytorch.main(options)


def test_int8_speed(capfd):
    int8_speed.main("t2t_vit_7 --batch_size 1 --rounds 1 --steps 2".split())
    out = capfd.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith("t2t_vit_7 | "))
    assert len(row.split(" | ")) == 5 and "float32 / int8" in out


@pytest.mark.slow
@pytest.mark.skipif(not against_pytorch.PYTHON.exists(), reason="no .venv-benchmark: see requirements-benchmark.txt")
def test_side_by_side_with_timm(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = "tnt_s_patch16_224 --train --batch_size 2 --rounds 2 --steps 1 --no_compile --json out.json"
    against_pytorch.main(options.split())
    inference, training = json.loads(Path("out.json").read_text())["results"]
    assert inference["step"] == "inference" and training["step"] == "training"
    assert inference["runtimes"].keys() == {against_pytorch.OURS, against_pytorch.EAGER, against_pytorch.ONNX}
    for found in (inference, training):
        for of in found["runtimes"].values():
            assert of["difference"] <= against_pytorch.TOLERANCE and len(of["rounds"]) == 2
    assert "PyTorch / this" in capsys.readouterr().out and os.getcwd() != str(ROOT)
