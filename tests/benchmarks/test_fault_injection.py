"""Kills at a small scale, and what the benchmark would notice."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
import yaml

from benchmarks.fault_injection import (
    CONFIG,
    MARK,
    Failure,
    Kill,
    differences,
    main,
    marked_processes,
    read_all,
    summary,
)
from src.engine.run_folder import RunFolder
from src.errors import UserError
from src.weights.checkpoint import save_checkpoint
from src.weights.model_card import ModelCard

CARD = ModelCard("tnt_ti_patch16_224", {}, ["a"], (16, 16), 3, (0.5,) * 3, (0.5,) * 3, 1.0)


def test_two_kills(tmp_path, capfd):
    config = yaml.safe_load(CONFIG)
    config["schedule"]["epochs"], config["limit_batches"], config["train"]["save_every"] = 2, 6, 2
    config["model"]["structure"]["depth"] = 1
    (tmp_path / "small.yaml").write_text(yaml.dump(config))
    assert main("--config small.yaml --kills 2 --seed 13 --work work --json result.json".split()) == 0
    result = json.loads(Path("result.json").read_text())
    assert result["failure"] is None and sum(result["kills_of_runs"]) == len(result["kills"]) == 2
    assert any(kill["saved_step"] for kill in result["kills"])  # with this seed the first comes at the fourth save
    assert {kill["phase"] for kill in result["kills"]} <= {"start", "training", "evaluation", "save"}
    lines = capfd.readouterr().out.splitlines()
    assert lines[1].startswith("18 steps: ")
    assert [line.split()[0] for line in lines[2:4]] == ["1/2", "2/2"] and "killed process after" in lines[2]
    assert lines[-2].split()[0] == "process" and lines[-2].split()[-1] == "2"
    assert lines[-1].startswith("2 kills in ")


@pytest.mark.slow
def test_two_kills_with_two_ranks(capfd):
    """Of which the first comes after a checkpoint: the run saves at every second step."""
    config = yaml.safe_load(CONFIG)
    config["schedule"]["epochs"], config["limit_batches"], config["train"]["save_every"] = 2, 6, 2
    config["model"]["structure"]["depth"] = 1
    Path("small.yaml").write_text(yaml.dump(config))
    assert main("--config small.yaml --ranks 2 --kills 2 --seed 13 --work work --json result.json".split()) == 0
    result = json.loads(Path("result.json").read_text())
    assert result["failure"] is None and result["ranks"] == 2 and len(result["kills"]) == 2
    assert {kill["victims"] for kill in result["kills"]} <= {"rank 0", "rank 1", "all ranks"}
    assert "every run equal to the uninterrupted one to the bit" in capfd.readouterr().out


def test_training_that_fails_is_told(tmp_path, capsys):
    (tmp_path / "wrong.yaml").write_text(CONFIG.replace("batch_size: 16", "batch_size: 2000"))
    assert main("--config wrong.yaml --kills 1 --work work".split()) == 1
    err = capsys.readouterr().err
    assert "FAILED after 0 kills: training ended with 2; the end of what it printed:" in err
    assert "an epoch has 1280 training images, fewer than" in err


def write_run(output, *, weight=0.5, moment=0.25, average=0.75, loss=2.0, speed=10.0):
    """A finished run of one weight."""
    folder = RunFolder(output, "run")
    parameters = [ms.Parameter(np.array([1.0, v], np.float32), name=n) for n, v in (("w", weight),)]
    state = [ms.Parameter(np.array([v], np.float32), name=n) for n, v in (("adam_m.w", moment), ("ema.w", average))]
    save_checkpoint(
        folder.last, parameters, CARD, state, {"step": 4, "best_score": 50.0, "config": {"output": str(output)}}
    )
    save_checkpoint(folder.best, parameters, CARD, (), {"step": 4})
    folder.record({"kind": "train", "step": 4, "loss": loss, "images_per_second": speed, "data_wait": speed})
    return folder


def test_equal_runs_have_no_differences():
    assert differences(write_run("a", speed=1.0), write_run("b", speed=2.0)) == []


@pytest.mark.parametrize(
    "change,expected",
    [
        (
            {"moment": np.nextafter(np.float32(0.25), np.float32(1))},
            ["last.ckpt: 1 of 1 optimizer and loss scale differ"],
        ),
        ({"average": -0.75}, ["last.ckpt: 1 of 1 averages differ, such as ema.w"]),
        ({"weight": 0.0}, ["last.ckpt: 1 of 1 weights differ", "best.ckpt: 1 of 1 weights differ"]),
        ({"loss": 2.5}, ["metrics.jsonl: 1 entries, 1 expected; first {'kind': 'train', 'step': 4, 'loss': 2.5}"]),
    ],
)
def test_one_changed_bit_is_a_difference(change, expected):
    found = differences(write_run("a", **change), write_run("b"))
    assert len(found) == len(expected)
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True))


def test_negative_zero_and_missing_entries_are_differences():
    run, reference = write_run("a", weight=-0.0), write_run("b", weight=0.0)
    reference.record({"kind": "eval", "step": 4})
    found = differences(run, reference)
    assert len(found) == 3 and "1 entries, 2 expected; one of them ends early" in found[2]


def test_a_damaged_checkpoint_is_a_failure():
    folder = write_run("a")
    (folder.checkpoints / ".last.1.tmp").write_bytes(b"begun")
    (folder.checkpoints / ".last.1.ckpt").write_bytes(b"begun")
    assert sorted(read_all(folder)) == ["best.ckpt", "last.ckpt"]
    content = folder.best.read_bytes()
    folder.best.unlink()
    folder.best.write_bytes(content[:-1])
    with pytest.raises(Failure, match=r"unreadable checkpoint: .*best.ckpt"):
        read_all(folder)


def test_processes_of_a_start_are_found_by_rank(tmp_path):
    script = tmp_path / "train.py"
    script.write_text("import time; time.sleep(60)")
    environment = {**os.environ, MARK: "abc"}
    ranks = [
        {"MS_ROLE": "MS_WORKER", "MS_NODE_ID": "0"},
        {"MS_ROLE": "MS_WORKER", "MS_NODE_ID": "1"},
        {"MS_ROLE": "MS_SCHED"},
    ]
    processes = [subprocess.Popen([sys.executable, str(script)], env={**environment, **rank}) for rank in ranks]
    try:
        time.sleep(0.2)  # until they are no longer copies of this process
        assert sorted(marked_processes("abc", None)) == sorted(process.pid for process in processes)
        assert [list(marked_processes("abc", rank)) for rank in (0, 1, 2)] == [
            [processes[0].pid],
            [processes[1].pid],
            [],
        ]
        assert list(marked_processes("ab", None)) == []
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_summary():
    kills = [
        Kill(1, "save", victims, 1.0, phase, 3, None, [], 0)
        for victims, phase in (("rank 1", "save"), ("all ranks", "start"), ("rank 1", "save"))
    ]
    head, first, second, last = summary(kills, [2, 1])
    assert head.split() == ["killed", "start", "training", "evaluation", "save", "sum"]
    assert first.split() == ["all", "ranks", "1", "0", "0", "0", "1"]
    assert second.split() == ["rank", "1", "0", "0", "0", "2", "2"]
    assert last.startswith("3 kills in 2 runs, 0 when there was a checkpoint to resume from; ")


@pytest.mark.parametrize("option", ["--kills", "--ranks", "--timeout"])
def test_wrong_options(option, capsys):
    with pytest.raises(SystemExit) as stop:
        main([option, "0"])
    assert stop.value.code == 2
    assert f"{option}: expected a whole number of at least 1, got '0'" in capsys.readouterr().err


def test_what_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(UserError, match="--work: expected the name of a new folder, got"):
        main(["--work", str(tmp_path)])
    with pytest.raises(UserError, match="cannot write missing/out.json"):
        main(["--json", "missing/out.json"])
    with pytest.raises(UserError, match="none.yaml"):
        main(["--config", "none.yaml"])
