"""Compiles a script for GPU where there is none: python benchmarks/gpu_dry_run.py [--report FILE] SCRIPT.py [ARG ...]

The script runs on MindSpore's own GPU backend. Device memory is host memory; CUDA, cuBLAS, cuDNN and MindSpore's CUDA
kernels answer "success" and compute nothing, so that results are garbage and every condition is true. Real are the
graph compiler, the choice of kernels, and their checks of shapes, types and workspaces: what they refuse here they
refuse on a card.

At the end a line for each operator that has no kernel for the GPU; MindSpore runs those on the CPU and says nothing
('CPU'), or fails ('nowhere'). Operators outside graphs are not listed; they raise what the plugin refuses. The exit
code is the script's own; where that is 0, it is 3 where an operator has no kernel for the GPU, and 4 where no graph was
compiled for it. Needs gcc, nm, Linux on x86-64, and a MindSpore with its plugin for CUDA 11.6.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from benchmarks.dry_run.gpu_process import run_dry  # isort: skip
from benchmarks.dry_run.kernel_log import CPU, EXPANDED, GPU, NOWHERE
from benchmarks.dry_run.stand_ins import stand_ins
from src.errors import UserError
from src.files.output_file import check_output_file
from src.files.whole_file import write_whole
from src.terminal.script_parser import ScriptParser, path

NO_KERNEL, NO_GRAPH = 3, 4
"""Exit codes."""


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ScriptParser(
        prog="gpu_dry_run.py",
        usage="python benchmarks/%(prog)s [--report FILE] SCRIPT.py [ARG ...]",
        description="Runs a script on MindSpore's GPU backend without a GPU: results are garbage, refusals are real.",
    )
    parser.add_argument("--report", metavar="FILE", type=path, help="every operator, its types, and where it went")
    parser.add_argument("script", metavar="SCRIPT.py", type=path, help="what to run")
    parser.add_argument("arguments", metavar="ARG", nargs=argparse.REMAINDER, help="of the script")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    options = _parse(argv)
    if not options.script.is_file():
        raise UserError(f"{options.script}: there is no such file; expected a script of Python")
    if options.report is not None:
        check_output_file(options.report)
    run = run_dry(stand_ins(), [str(options.script), *options.arguments])
    choice, without = run.choice, run.choice.lines(CPU, NOWHERE)
    if options.report is not None:
        write_whole(options.report, "".join(f"{line}\n" for line in choice.lines(GPU, EXPANDED, CPU, NOWHERE)))
    operators = {use.operator for use in choice.counts}
    _tell(f"{len(operators)} operators with {len(choice.counts)} combinations of types, {choice.num_nodes} nodes")
    for line in without:
        _tell(f"no kernel for the GPU: {line}")
    if run.exit_code:
        return run.exit_code if run.exit_code > 0 else 128 - run.exit_code
    if not choice.counts:
        _tell("no graph was compiled for the GPU")
        return NO_GRAPH
    return NO_KERNEL if without else 0


def _tell(line: str) -> None:
    print(f"gpu_dry_run: {line}", file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
