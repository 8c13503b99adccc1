"""How far the networks are from the authors' code, case by case: python benchmarks/parity.py [CASE...]

Prints the largest absolute difference of logits for every case of tests/reference, in graph mode, and of the losses of
the training runs. The tests in tests/models/ hold the same comparisons against their tolerances.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

import numpy as np  # isort: skip

from src.devices.device import set_up_device
from tests.parity import FOLDER, create_step, load_case


def main() -> None:
    set_up_device("CPU", seed=0, uses_convolution=True)
    names = sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("*.json"))
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
            losses = [float(step(case.images(draw), case.labels()).asnumpy()) for draw in steps]
            row += f" {np.abs(losses - case.arrays['adamw_losses']).max():16.1e}"
        print(row, flush=True)


if __name__ == "__main__":
    run_command(main)
