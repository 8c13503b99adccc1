"""Checks of a device: each has been seen to fail, and a process that crashes or hangs is a row and not the end."""

import json
import os
import sys

import numpy as np
import pytest
from mindspore import Tensor, ops

import check_device
from benchmarks.device_checks import CHECKS, functions, operators, randomness, report, runner, training
from benchmarks.device_checks.check import (
    FAIL,
    NOT_APPLICABLE,
    PASS,
    REFUSED,
    STARTS,
    Check,
    Measurement,
    NotApplicable,
)
from benchmarks.device_checks.child import run_part
from benchmarks.device_checks.operator_cases import Case, cases
from benchmarks.device_checks.runner import CheckResult, PartResult, run_check
from src.engine import prefetch
from src.errors import UserError
from src.layers import random_mask
from tests.parity import load_case

pytestmark = pytest.mark.usefixtures("equal_graphs")

FILE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), "docs", "portability.md")

NO_KERNEL = {"Depend", "Load", "MakeTuple", "Operator", "Partial", "Switch", "TupleGetItem", "UpdateState", "Shape"}
"""Nodes that the compiler and the runtime handle."""

IN_TRAINING = {"AdamWeightDecay", "Assign", "AssignAdd", "TensorMove"}
"""They change parameters: the checks of training compare what comes of them."""

SEVERAL_DEVICES = {"AllGather", "AllReduce", "Broadcast"}
BY_OTHERS = {"Divs": "Div", "Muls": "Mul"}
"""Operators that MindSpore makes of others."""


def test_every_operator_of_the_audit_is_covered():
    with open(FILE, encoding="utf-8") as text:
        rows = [line.split("|")[1].strip() for line in text if line.startswith("| ") and line.count("|") > 5]
    audited = {name for name in rows if name.isalnum() and name[0].isupper()}
    left = audited - operators.covered() - NO_KERNEL - IN_TRAINING - SEVERAL_DEVICES - set(BY_OTHERS)
    assert audited > {"MatMul", "RightShift"} and not left
    assert set(BY_OTHERS.values()) <= operators.covered()


def case_of(name):
    return next(case for case in cases() if case.covers[0] == name)


@pytest.mark.parametrize("name", ["MatMul", "LayerNorm", "Im2Col", "Select", "ResizeNearestNeighbor"])
@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_an_operator(name, kind):
    assert operators.measure(case_of(name), kind).holds


def test_a_wrong_operator_and_a_wrong_derivative_are_found():
    exp = case_of("Exp")
    assert not operators.measure(Case(("Exp",), "", ops.Exp(), np.expm1, exp.inputs), "float32").holds

    def detached(x):
        return ops.exp(ops.stop_gradient(x)) + ops.zeros_like(x) * x

    found = operators.measure(Case(("Exp",), "", detached, np.exp, exp.inputs), "float32")
    assert not found.holds and found.note == "in its derivative"
    assert not operators.measure(Case(("Exp",), "", ops.Exp(), lambda x: x[:1], exp.inputs), "float32").holds


def test_short_products_are_recognised():
    def rounded(x, y):
        return x @ y.T * (1 + 3e-4)

    product = case_of("MatMul")
    found = operators.measure(Case(("MatMul",), "", product.function, rounded, product.inputs), "float32")
    assert found.holds and "TF32" in found.note
    other = Case(("Mul",), "", product.function, rounded, product.inputs)
    assert not operators.measure(other, "float32").holds


def test_networks(monkeypatch):
    assert functions.forward("tiny_tnt", "float32").holds and functions.forward("tiny_tnt", "float16").holds
    case = load_case("tiny_tnt")
    case.arrays["logits"][0, 0] += 2e-3
    monkeypatch.setattr(functions, "load_case", lambda name: case)
    assert not functions.forward("tiny_tnt", "float32").holds


def test_a_mask_that_differs_is_found(monkeypatch):
    expected = {f"{part}/{name}": a for part, arrays in randomness.draw().items() for name, a in arrays.items()}
    monkeypatch.setattr(randomness, "_on_cpu", lambda: expected)
    randomness._on_device.cache_clear()
    assert all(randomness._compare(part).holds for part in randomness._on_device())
    monkeypatch.setattr(random_mask, "_MULTIPLIER_1", 0x7FEB352F)
    randomness._on_device.cache_clear()
    assert not randomness._compare("dropout").holds
    randomness._on_device.cache_clear()


def test_a_run_that_forgets_its_state_is_found(monkeypatch):
    assert training.stopped().holds
    monkeypatch.setattr(training.Run, "load", lambda self, state, done: self)
    assert not training.stopped().holds


def test_batches_that_are_not_copied_in_time_are_found(monkeypatch):
    """Their memory is used again."""
    monkeypatch.setattr(prefetch, "_copy", Tensor.from_numpy)
    assert not training.copied_ahead().holds


def refuse():
    raise RuntimeError("\n\n- Kernel select failed:\n--------\nno kernel for [MatMul]\n")


def not_here():
    raise NotApplicable("for another device")


@pytest.mark.parametrize(
    ("part", "state", "note"),
    [
        (lambda: Measurement(1e-6, 1e-5), PASS, ""),
        (lambda: Measurement(1e-4, 1e-5, "the head"), FAIL, "the head"),
        (lambda: Measurement(float("nan"), 1e-5), FAIL, ""),
        (lambda: Measurement(facts={"images_per_second": 3.0}), PASS, ""),
        (refuse, REFUSED, "RuntimeError: - Kernel select failed: no kernel for [MatMul]"),
        (not_here, NOT_APPLICABLE, "for another device"),
    ],
)
def test_states(part, state, note):
    found = run_part(part)
    assert found["state"] == state and found["note"] == note
    json.dumps(found)


CHILD = """
import os, signal, time
from benchmarks import device_checks
from benchmarks.device_checks import child
from benchmarks.device_checks.check import Check, Measurement
PARTS = {
    "good": lambda: Measurement(0.0, 1.0),
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "hang": lambda: time.sleep(600),
    "exit": lambda: os._exit(7),
    "last": lambda: Measurement(0.5, 1.0),
}
device_checks.CHECKS["test"] = Check("nothing", lambda device, quick: PARTS)
child.main(*__import__("sys").argv[1:])
"""


def test_a_process_that_ends_or_hangs_is_a_row_and_not_the_end(monkeypatch, tmp_path):
    child = tmp_path / "child.py"
    child.write_text(CHILD)
    monkeypatch.setitem(CHECKS, "test", Check("nothing", lambda device, quick: {}, seconds=3))
    start = runner.subprocess.Popen

    def replaced(command, **kwargs):
        place = command.index("benchmarks.device_checks.child")
        return start([command[0], str(child), *command[place + 1 :]], **kwargs)

    monkeypatch.setattr(runner.subprocess, "Popen", replaced)
    told = []
    result = run_check("test", "CPU", False, told.append)
    assert [(part.name, part.state) for part in result.parts] == [
        ("good", PASS),
        ("crash", FAIL),
        ("hang", FAIL),
        ("exit", FAIL),
        ("last", PASS),
    ]
    notes = [part.note.partition(":")[0] for part in result.parts[1:4]]
    assert notes == ["its process was ended by SIGSEGV", "gave nothing within 3 s", "its process ended with 7"]
    assert {"good", "last"} < set(told) and result.state == FAIL and result.has_started


def test_a_device_that_does_not_start_is_told_once(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    result = run_check("randomness", "CPU", True, print)
    assert [(part.name, part.state) for part in result.parts] == [(STARTS, FAIL)] and not result.has_started


def results():
    parts = [PartResult("MatMul", PASS, 0.1, 1e-7, 1e-5), PartResult("Erf", REFUSED, 0.1, note="RuntimeError: none")]
    parts += [PartResult("Exp", REFUSED, 0.1, note="RuntimeError: none"), PartResult("Log", FAIL, 0.1, 1.0, 1e-5)]
    speed = [PartResult("tnt", PASS, 3.0, facts={"images_per_second": 12.3456})]
    return [CheckResult("operators", "all", parts, 1.0), CheckResult("speed", "facts", speed, 2.0)]


def test_report(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    described = report.describe_device("CPU")
    text = report.to_markdown(described, results())
    assert "| operators | all | 1.0e+00 | 1e-05 | 1 | 1/4 | FAIL |" in text
    assert "- operators, Erf, Exp: REFUSED: RuntimeError: none" in text
    assert "- operators, Log: FAIL (1.00e+00, allowed 1e-05)" in text
    assert "images_per_second 12.35" in text and "2 checks, 5 parts: 1 FAIL, 2 REFUSED" in text
    whole = text + json.dumps(report.to_dict(described, results(), True))
    assert os.uname().nodename not in whole and "/home" not in whole and str(tmp_path) not in whole
    assert report.exit_code_of(results()) == 1 and report.exit_code_of(results()[1:]) == 0


def test_command(tmp_path, capsys, monkeypatch):
    fine = results()[1:]
    monkeypatch.setattr(check_device, "run_check", lambda name, *arguments: fine[0])
    assert check_device.main(["--device", "CPU", "--only", "speed", "--output", str(tmp_path / "out")]) == 0
    assert "1 check, 1 part: none failed or was refused" in capsys.readouterr().out
    found = json.loads((tmp_path / "out/device_report.json").read_text())
    assert found["checks"][0]["parts"][0]["facts"] == {"images_per_second": 12.3456}
    assert (tmp_path / "out/device_report.md").read_text().startswith("# Device report: CPU")
    with pytest.raises(UserError, match="--device GPU: not available to MindSpore .* here, only CPU"):
        check_device.main(["--device", "GPU", "--output", str(tmp_path / "other")])
    with pytest.raises(UserError, match="invalid choice: 'masks'"):
        check_device.main(["--only", "masks"])
    assert not (tmp_path / "other").exists()
