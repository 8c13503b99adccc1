"""How far the networks are from the authors' code, case by case: python benchmarks/parity.py [CASE...]

Prints the largest absolute difference of logits for every case of tests/reference, in graph mode, and of the losses of
the training runs. The tests in tests/models/ hold the same comparisons against their tolerances.

With --cases FILE.json ... it holds detectors and their parts against cases in files, see benchmarks/cases: the largest
difference of each array and its bound, the nearest to it first; the exit code is 1 where one is exceeded.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

import numpy as np  # isort: skip

from benchmarks.cases import check
from benchmarks.cases.case import Case, Row
from src.devices.device import set_up_device
from src.terminal.script_parser import ScriptParser, path
from tests.parity import FOLDER, create_step, load_case


def compare_classifiers(names: Sequence[str]) -> None:
    """Prints a line for each case of tests/reference."""
    set_up_device("CPU", seed=0, uses_convolution=True)
    names = names or sorted(file.stem for file in FOLDER.glob("*.json"))
    print(f"{'case':30} {'largest |logit|':>16} {'difference':>11} {'training losses':>16}")
    for name in names:
        case = load_case(name)
        net = case.build()
        logits = net(case.images()).asnumpy()
        difference = np.abs(logits - case.arrays["logits"]).max() if not case.meta.get("train_mode") else np.nan
        row = f"{name:30} {np.abs(logits).max():16.2f} {difference:11.1e}"
        if "adamw" in case.meta:
            step = create_step(case, case.build())
            steps = range(1, case.meta["adamw"]["steps"] + 1)
            losses = [step(case.images(draw), case.labels()).asnumpy().item() for draw in steps]
            row += f" {np.abs(losses - case.arrays['adamw_losses']).max():16.1e}"
        print(row, flush=True)


def compare_cases(files: Sequence[Path]) -> int:
    """Prints the arrays of cases in files; returns how many are beyond their bound."""
    # Convolutions as MindSpore computes them by itself, slowly on some CPUs: gradients in training mode have kinks (of
    # ReLU), and a change of the input by 3e-6 moves some of their norms by 1 %.
    set_up_device("CPU", seed=0, uses_convolution=False)
    exceeded = count = 0
    for file in files:
        rows = sorted(check(Case.read(file)), key=_share, reverse=True)
        wrong = sum(not row.holds for row in rows)
        exceeded, count = exceeded + wrong, count + len(rows)
        print(f"{file.stem}: {len(rows)} arrays, {wrong} beyond their bound", flush=True)
        for row in rows:
            print(f"  {row.name:60} {row.difference:9.2e} of {row.bound:7.0e}  {'ok' if row.holds else 'EXCEEDED'}")
    print(f"{len(files)} cases, {count} arrays compared, {exceeded} beyond their bound")
    return exceeded


def _share(row: Row) -> float:
    """How much of what it may differ by a row differs."""
    if row.bound == 0:
        return math.inf if row.difference > 0 else 0.0
    return row.difference / row.bound


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ScriptParser(
        prog="parity.py",
        usage="python benchmarks/%(prog)s [CASE ...] | --cases FILE.json ...",
        description="Compares the networks with the authors' code, or detectors and their parts with cases in files.",
    )
    parser.add_argument("names", metavar="CASE", nargs="*", help="of tests/reference; all when left out")
    parser.add_argument("--cases", metavar="FILE.json", type=path, nargs="+", help="NPZ files lie beside")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 where a bound of a case in a file is exceeded."""
    options = _parse(argv)
    if options.cases is None:
        compare_classifiers(options.names)
        return 0
    return 1 if compare_cases(options.cases) else 0


if __name__ == "__main__":
    run_command(main)
