"""Times int8 ONNX files beside float32 ones: python benchmarks/int8_speed.py tnt_s_patch16_224 ptnt_s_patch16_256

Both files of a network are made as export.py makes them, of random weights and calibrated on random images: neither
changes what is computed. They run under ONNX Runtime in a process each, in turns. What int8 costs in accuracy is told
by `export.py --precision int8` of a trained network.

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

import mindspore as ms  # isort: skip
import numpy as np

from benchmarks.timed.machine import machine
from benchmarks.timed.process import Round, TimedProcess
from src.devices.device import set_up_device
from src.export.int8 import quantize
from src.export.onnx_cells import build_onnx
from src.models import get_variant
from src.terminal.script_parser import ScriptParser, whole_number
from src.terminal.text_table import Table, terminal_width
from src.weights.described_network import create_network, describe_variant

FILES = ("float32", "int8")
CALIBRATION = 4  # batches


def write_files(model: str, batch_size: int, folder: Path) -> None:
    """float32.onnx, int8.onnx, and a batch of images."""
    variant = get_variant(model)
    size = (variant.image_size, variant.image_size)
    net = create_network(describe_variant(model, {}, [str(label) for label in range(1000)], size, 3))
    (folder / "float32.onnx").write_bytes(build_onnx(net.set_train(False), (3, *size)).SerializeToString())
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal((batch_size, 3, *size), np.float32) for _ in range(CALIBRATION)]
    quantize(folder / "float32.onnx", folder / "int8.onnx", batches)
    np.save(folder / "images.npy", batches[0])


def measure(model: str, batch_size: int, rounds: int, steps: int) -> dict[str, tuple[int, list[Round]]]:
    """Size in bytes and rounds of each file."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        write_files(model, batch_size, Path(folder))
        processes = {
            name: stack.enter_context(
                TimedProcess("onnxruntime_file", {"folder": folder, "name": name, "file": f"{name}.onnx"})
            )
            for name in FILES
        }
        found: dict[str, list[Round]] = {name: [] for name in FILES}
        for _ in range(rounds):
            for name, process in processes.items():
                found[name].append(process.run(steps))
        return {name: ((Path(folder) / f"{name}.onnx").stat().st_size, found[name]) for name in FILES}


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ScriptParser(prog="int8_speed.py", description="Times int8 ONNX files beside float32 ones.")
    parser.add_argument("models", metavar="NETWORK", nargs="+", help="variants, such as tnt_s_patch16_224")
    number = {"type": whole_number(1, 10_000), "metavar": "N"}
    parser.add_argument("--batch_size", default=8, help="images a step (default 8)", **number)
    parser.add_argument("--rounds", default=5, help="turns of each (default 5)", **number)
    parser.add_argument("--steps", default=8, help="timed steps of a turn (default 8)", **number)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    options = _parse(argv)
    for model in options.models:
        get_variant(model)
    where = machine()
    set_up_device("CPU", seed=0, uses_convolution=True)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    rows = []
    for model in options.models:
        found = measure(model, options.batch_size, options.rounds, options.steps)
        medians = {name: [statistics.median(of.times) for of in rounds] for name, (_, rounds) in found.items()}
        ratios = [exact / small for exact, small in zip(*medians.values(), strict=True)]
        sizes = " / ".join(f"{size / 1e6:.1f}" for size, _ in found.values())
        times = [f"{statistics.median(of):.3f} s" for of in medians.values()]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        rows.append([model, *times, ratio, f"{sizes} MB"])
        print(" | ".join(rows[-1]), flush=True)
    print(f"\n{where}; batches of {options.batch_size}")
    header = ["network", *FILES, "float32 / int8", "sizes"]
    print(Table("int8 files under ONNX Runtime", header, rows).text(terminal_width()))


if __name__ == "__main__":
    run_command(main)
