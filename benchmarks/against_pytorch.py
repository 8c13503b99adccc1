"""Times networks side by side with PyTorch: python benchmarks/against_pytorch.py tnt_s_patch16_224 [--train]

For each network every runtime has a process of its own with the same weights and the same batch. First their outputs
must agree (of training, the first loss). Then they take turns, several rounds, while all others stand still, so that a
machine that is slow for a minute is slow for all of them. Compilation and the first steps are not in the times.

- ratio: PyTorch's eager time / this one's, of the medians of each round; the median over rounds, lowest and highest.
  Above 1 is faster than PyTorch.
- matrix product: multiply-adds a second of a float32 product of 2048 x 2048 by the runtime's own library, the best of
  those between the steps.
- memory: the most that was resident, building and compiling included.

PyTorch and timm live in an environment of their own:

    python3 -m venv .venv-benchmark && .venv-benchmark/bin/pip install -r requirements-benchmark.txt

TNT is timm's. PyramidTNT and T2T-ViT are the authors' code, from a clone that --peer names:
huawei-noah/Efficient-AI-Backbones for PyramidTNT, yitu-opensource/T2T-ViT for T2T-ViT.

Only figures from an otherwise idle machine mean anything. Linux only (resident memory is read from /proc).
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

import numpy as np  # isort: skip

from benchmarks.timed.machine import machine
from benchmarks.timed.process import ROOT, Round, TimedProcess
from src.config import Config
from src.devices.versions import describe_environment
from src.errors import UserError
from src.files.json_file import write_json
from src.files.output_file import check_output_file
from src.models import get_variant
from src.terminal.script_parser import ScriptParser, whole_number
from src.terminal.text_table import Table, terminal_width

OURS, EAGER, COMPILED, ONNX = "MindSpore", "PyTorch", "torch.compile", "ONNX Runtime"
TOLERANCE = 1e-4
"""Of outputs, relative to the largest; of losses."""

PYTHON = ROOT / ".venv-benchmark" / "bin" / "python"


@dataclass(frozen=True)
class Runtime:
    """What one process measured.

    Attributes:
        version: of its libraries.
        rounds: in their order.
        difference: of its first output from PyTorch's.
    """

    version: str
    rounds: list[Round]
    difference: float

    @property
    def times(self) -> list[float]:
        return [seconds for of in self.rounds for seconds in of.times]


def measure(
    model: str, kind: str, batch_size: int, rounds: int, steps: int, python: Path, peer: Path | None, compiled: bool
) -> dict[str, Runtime]:
    """Measures one network in every runtime.

    Args:
        model: one of `list_models()`.
        kind: 'inference' or 'training'.
        batch_size: images a step.
        rounds: turns of each.
        steps: that are timed in a turn.
        python: interpreter with PyTorch and timm.
        peer: clone of the authors' repository; None for timm.
        compiled: measure torch.compile too.

    Raises:
        UserError: a process cannot start or ends, or outputs differ.
    """
    train = Config()
    common = {"model": model, "kind": kind, "batch_size": batch_size}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        common["folder"] = folder
        processes = {}

        def start(name: str, module: str, python: Path | None = None, **task: Any) -> None:
            print(f"{model}, {kind}: starting {name}", flush=True)
            processes[name] = stack.enter_context(TimedProcess(module, {**common, "name": name, **task}, python))

        files = ["weights", "onnx"] if kind == "inference" else ["weights"]
        start(OURS, "mindspore_network", arguments={"drop_path_rate": 0.0}, write=files)
        settings = {
            "peer": None if peer is None else str(peer.resolve()),
            "lr": train.optimizer.lr,
            "weight_decay": train.optimizer.weight_decay,
            "label_smoothing": train.train.label_smoothing,
        }
        start(EAGER, "pytorch_network", python, compiled=False, **settings)
        if compiled:
            start(COMPILED, "pytorch_network", python, compiled=True, **settings)
        if kind == "inference":
            start(ONNX, "onnxruntime_file", file="network.onnx")
        differences = dict(_differences(Path(folder), processes))
        measured = {name: [] for name in processes}
        for number in range(rounds):
            for name, process in processes.items():
                measured[name].append(process.run(steps))
            shown = ", ".join(f"{name} {statistics.median(of[-1].times):.4g} s" for name, of in measured.items())
            print(f"{model}, {kind}: round {number + 1} of {rounds}: {shown}", flush=True)
        return {
            name: Runtime(process.facts["version"], measured[name], differences[name])
            for name, process in processes.items()
        }


def _differences(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, float]]:
    expected = np.load(folder / f"{EAGER}.npy")
    for name in names:
        found = np.load(folder / f"{name}.npy")
        difference = float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-12))
        if not difference <= TOLERANCE:
            raise UserError(f"{name} computes another function than {EAGER}: its output differs by {difference:.1e}")
        yield name, difference


def ratios(found: dict[str, Runtime], name: str) -> list[float]:
    """PyTorch's time / that of `name`, for each round."""
    medians = ([statistics.median(of.times) for of in found[which].rounds] for which in (EAGER, name))
    return [theirs / own for theirs, own in zip(*medians, strict=True)]


def table_of(results: dict[tuple[str, str], dict[str, Runtime]]) -> Table:
    """A row for each network, kind of step and runtime."""
    rows = []
    for (model, kind), found in results.items():
        for name, runtime in found.items():
            of = ratios(found, name)
            rows.append(
                [
                    model,
                    kind,
                    name,
                    f"{statistics.median(runtime.times):.3f} s",
                    f"{min(runtime.times):.3f} s",
                    "1" if name == EAGER else f"{statistics.median(of):.2f} ({min(of):.2f} to {max(of):.2f})",
                    f"{max(of.product_rate for of in runtime.rounds) / 1e9:.0f} G/s",
                    f"{runtime.rounds[-1].peak_memory / 2**20:,.0f} MiB",
                ]
            )
    header = ["network", "step", "runtime", "median", "best", "PyTorch / this", "matrix product", "memory"]
    return Table("Side by side with PyTorch", header, rows)


def _peer_of(model: str, peers: Sequence[Path]) -> Path | None:
    """The clone with the authors' code of a network; None for what timm has."""
    if model.startswith("tnt"):
        return None
    file, repository = {
        "ptnt": ("tnt_pytorch/pyramid_tnt.py", "huawei-noah/Efficient-AI-Backbones"),
        "t2t": ("models/t2t_vit.py", "yitu-opensource/T2T-ViT"),
    }[model.partition("_")[0]]
    for peer in peers:
        if (peer / file).is_file():
            return peer
    raise UserError(f"{model} needs the authors' code: clone github.com/{repository} and give --peer FOLDER ({file})")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ScriptParser(
        prog="against_pytorch.py", description="Times networks side by side with PyTorch, on one machine in one run."
    )
    parser.add_argument("models", metavar="NETWORK", nargs="+", help="variants, such as tnt_s_patch16_224")
    parser.add_argument("--train", action="store_true", help="measure training steps too")
    parser.add_argument("--peer", type=Path, nargs="+", default=[], metavar="DIR", help="clones of the authors' code")
    parser.add_argument("--python", type=Path, default=PYTHON, help="interpreter with PyTorch (.venv-benchmark's)")
    parser.add_argument("--no_compile", action="store_true", help="leave torch.compile out")
    number = {"type": whole_number(1, 10_000), "metavar": "N"}
    parser.add_argument("--batch_size", default=8, help="images a step (default 8)", **number)
    parser.add_argument("--rounds", default=5, help="turns of each runtime (default 5)", **number)
    parser.add_argument("--steps", default=5, help="timed steps of a turn (default 5)", **number)
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    options = _parse(argv)
    peers = {}
    for model in options.models:
        get_variant(model)
        peers[model] = _peer_of(model, options.peer)
    if not options.python.exists():
        raise UserError(
            f"{options.python} does not exist: make an environment with PyTorch by 'python3 -m venv .venv-benchmark && "
            ".venv-benchmark/bin/pip install -r requirements-benchmark.txt', or name its interpreter with --python"
        )
    if options.json is not None:
        check_output_file(options.json)
    where = machine()
    print(where)
    results = {}
    for model, peer in peers.items():
        for kind in ("inference", "training") if options.train else ("inference",):
            results[model, kind] = measure(
                model,
                kind,
                options.batch_size,
                options.rounds,
                options.steps,
                options.python,
                peer,
                not options.no_compile,
            )
    print(f"\n{where}; batches of {options.batch_size}, float32, {options.rounds} rounds of {options.steps} steps")
    print(*dict.fromkeys(runtime.version for found in results.values() for runtime in found.values()), sep=", ")
    print(table_of(results).text(terminal_width()))
    if options.json is not None:
        content = {
            "machine": where,
            "batch_size": options.batch_size,
            "environment": describe_environment("CPU"),
            "results": [
                {"model": model, "step": kind, "runtimes": {name: asdict(of) for name, of in found.items()}}
                for (model, kind), found in results.items()
            ],
        }
        write_json(options.json, content)


if __name__ == "__main__":
    run_command(main)
