"""Every part of the detectors, and the whole networks, against mmdetection's: the cases of tests/reference/detection.

What an array may differ by is written in benchmarks/cases.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cases import CHECKS, check
from benchmarks.cases.case import Case

REPOSITORY = Path(__file__).resolve().parents[2]
SLOW = {"net_mask_rcnn", "net_cascade_mask_rcnn"}
CASES = sorted(
    file
    for file in (REPOSITORY / "tests/reference/detection").glob("*.json")
    if Case.read(file).meta["kind"] in CHECKS and "train_mode" not in file.name
)


def each(files):
    return [pytest.param(f, id=f.stem, marks=[pytest.mark.slow] if f.stem in SLOW else []) for f in files]


@pytest.mark.parametrize("file", each(CASES))
def test_case(file):
    rows = list(check(Case.read(file)))
    assert rows and not [f"{row.name}: {row.difference:.1e} of {row.bound:.0e}" for row in rows if not row.holds]


TRAINING = ["net_mask_rcnn_train_mode", "net_retinanet_train_mode", "upsample_neck_train_mode"]


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINING)
def test_training_mode(name):
    """In a process of its own, where convolutions are as MindSpore sets them up: gradients there have kinks."""
    file = REPOSITORY / f"tests/reference/detection/{name}.json"
    command = [sys.executable, "benchmarks/parity.py", "--cases", str(file)]
    environment = {name: value for name, value in os.environ.items() if name != "ONEDNN_MAX_CPU_ISA"}
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and " 0 beyond their bound" in done.stdout, done.stdout + done.stderr
