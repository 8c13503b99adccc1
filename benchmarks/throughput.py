"""Images a second of every variant, ours and under ONNX Runtime: python benchmarks/throughput.py --markdown FILE

Inference in float32 on a CPU, for each variant and batch size in two processes that take turns: the network in
MindSpore's graph mode, and its ONNX file. Both have the same random weights; their outputs must agree. The median step
counts; compilation and the first steps do not. The table is in docs/results.md.

Only figures from an otherwise idle machine mean anything. Linux only.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

import numpy as np  # isort: skip

from benchmarks.timed.machine import machine
from benchmarks.timed.process import TimedProcess
from benchmarks.written_table import WrittenTable
from src.errors import UserError
from src.models import get_variant, list_models
from src.terminal.script_parser import ScriptParser, whole_number
from src.terminal.text_table import Table, terminal_width

OURS, ONNX = "MindSpore", "ONNX Runtime"
LARGEST_DIFFERENCE = 1e-4
"""Between the two, as in export.py."""


def measure(model: str, batch_size: int, rounds: int, steps: int) -> dict[str, float]:
    """Images a second of each.

    Args:
        model: one of `list_models()`.
        batch_size: images a step.
        rounds: turns of each.
        steps: that are timed in a turn.

    Raises:
        UserError: a process cannot start or ends, or outputs differ.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        task = {"folder": folder, "model": model, "kind": "inference", "batch_size": batch_size}
        processes = {
            name: stack.enter_context(TimedProcess(module, {**task, "name": name, **more}))
            for name, module, more in (
                (OURS, "mindspore_network", {"arguments": {}, "write": ["onnx"]}),
                (ONNX, "onnxruntime_file", {"file": "network.onnx"}),
            )
        }
        outputs = [np.load(Path(folder) / f"{name}.npy") for name in processes]
        difference = float(np.abs(outputs[0] - outputs[1]).max())
        if not difference <= LARGEST_DIFFERENCE:
            raise UserError(f"{model}: {OURS} and {ONNX} differ by {difference:.1e}")
        times = {name: [] for name in processes}
        for _ in range(rounds):
            for name, process in processes.items():
                times[name] += process.run(steps).times
    return {name: batch_size / statistics.median(of) for name, of in times.items()}


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ScriptParser(prog="throughput.py", description="Images a second of every variant, on this CPU.")
    parser.add_argument("models", nargs="*", metavar="NETWORK", help="variants; all when left out")
    number = {"type": whole_number(1, 10_000), "metavar": "N"}
    parser.add_argument("--batch_sizes", nargs="+", default=[1, 8], help="images a step (default 1 and 8)", **number)
    parser.add_argument("--rounds", default=3, help="turns of each (default 3)", **number)
    parser.add_argument("--steps", default=4, help="timed steps of a turn (default 4)", **number)
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="document whose table of this script is replaced")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    options = _parse(argv)
    names = options.models or list_models()
    for name in names:
        get_variant(name)
    place = None if options.markdown is None else WrittenTable(options.markdown, "throughput.py")
    where = machine()
    print(where)
    rows = []
    for name in names:
        found = [measure(name, size, options.rounds, options.steps) for size in options.batch_sizes]
        rows.append([name, *(f"{of[runtime]:.1f}" for of in found for runtime in (OURS, ONNX))])
        print(" | ".join(rows[-1]), flush=True)
    header = ["variant", *(f"{runtime}, {size}" for size in options.batch_sizes for runtime in (OURS, ONNX))]
    table = Table("Images a second by runtime and batch size", header, rows)
    print(table.text(terminal_width()))
    if place is not None:
        place.write(f"{where}:\n\n{table.markdown()}")


if __name__ == "__main__":
    run_command(main)
