"""Several devices against one: training, and what happens when a process is lost."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mindspore as ms
import numpy as np

from .check import Check, Measurement, NotApplicable, Part
from .training import REPOSITORY, run_script

STEPS = 6
LAUNCH = "scripts/launch.py"
PATIENCE = 90.0
"""Seconds within which a lost process must end the others."""


def _arguments(device: str, config: str, *more: str) -> list[str]:
    options = ["--device", device, "--limit_batches", str(STEPS), "--schedule.epochs", "1", "--train.log_every", "1"]
    return [
        "--config",
        str(REPOSITORY / f"config/demo/{config}.yaml"),
        *options,
        "--schedule.warmup_epochs",
        "0",
        *more,
    ]


def _check_devices(device: str) -> None:
    count = os.cpu_count() if device == "CPU" else ms.hal.device_count(device)
    if count < 2:
        raise NotApplicable(f"there is one {device}")


def _losses(folder: str) -> list[float]:
    lines = next(Path(folder).rglob("metrics.jsonl")).read_text().splitlines()
    return [entry["loss"] for entry in map(json.loads, lines) if entry["kind"] == "train"]


def two_against_one(device: str, config: str, *more: str) -> Measurement:
    """The losses of a short run: the first shows that both start from the same weights, the others the gradients."""
    _check_devices(device)
    losses = []
    for count in (1, 2):
        batch = ["--train.batch_size", str(32 // count)]
        with tempfile.TemporaryDirectory() as folder:
            arguments = _arguments(device, config, *batch, *more)
            if count == 1:
                run_script("train.py", *arguments, folder=folder)
            else:
                run_script(LAUNCH, "train.py", "launch", "--devices", "2", *arguments, folder=folder)
            losses.append(_losses(folder))
    return Measurement(float(np.abs(np.subtract(*losses)).max()), 1e-4)


def lost(device: str) -> Measurement:
    """A process is killed in the middle: the launcher must end with an error, and soon."""
    _check_devices(device)
    with tempfile.TemporaryDirectory() as folder:
        options = _arguments(device, "tnt_digits", "--train.batch_size", "16", "--schedule.epochs", "1000")
        command = [sys.executable, str(REPOSITORY / LAUNCH), "train.py", "launch", "--devices", "2", *options]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as launcher:
            _wait_for_a_step(folder, launcher)
            victim = _rank_of(launcher.pid)
            since = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            try:
                launcher.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                launcher.kill()
                raise AssertionError(f"the other process went on for {PATIENCE:.0f} s") from None
        if launcher.returncode == 0:
            raise AssertionError("the launcher ended with 0 although a process was killed")
    return Measurement(facts={"seconds_to_end": time.monotonic() - since})


def _wait_for_a_step(folder: str, launcher: subprocess.Popen) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end and launcher.poll() is None:
        if any(file.stat().st_size for file in Path(folder).rglob("metrics.jsonl")):
            return
        time.sleep(0.5)
    launcher.kill()
    raise AssertionError("two processes did not train a step within 240 s")


def _rank_of(launcher: int) -> int:
    """The last-started descendant that is no rank's worker: a process whose arguments name train.py."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(status.parent.name))
    found, waiting = [], [launcher]
    while waiting:
        process = waiting.pop()
        waiting += children.get(process, [])
        if process != launcher and b"train.py" in Path(f"/proc/{process}/cmdline").read_bytes():
            found.append(process)
    if not found:
        raise AssertionError("no process of the run was found")
    return max(found)


def _parts(device: str, quick: bool) -> dict[str, Part]:
    norm = ("--model.batch_norm", "synchronized")
    return {
        "two against one": lambda: two_against_one(device, "tnt_digits"),
        "synchronised batch norm": lambda: two_against_one(device, "ptnt_digits", *norm),
        "a lost process": lambda: lost(device),
    }


CHECKS = {"several devices": Check("two processes against one, and the loss of one", _parts, 600, is_quick=False)}
