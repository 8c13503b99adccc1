"""Averages checkpoints: python average.py --run output/NAME --best 5 --output average.ckpt"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.engine.best_checkpoints import best_checkpoints  # isort: skip
from src.engine.run_folder import RunFolder
from src.errors import UserError
from src.files.output_file import check_output_file
from src.terminal.outcome import next_line, written_line
from src.terminal.progress import print_line
from src.terminal.script_parser import ScriptParser, path
from src.weights.averaging import average_checkpoints


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ScriptParser(
        prog="average.py",
        usage="python %(prog)s FILE.ckpt FILE.ckpt ... --output FILE.ckpt, or --run DIR --best N --output FILE.ckpt",
        description="Writes a checkpoint of the mean weights of several, which eval.py, export.py and predict.py take.",
    )
    parser.add_argument("checkpoints", metavar="FILE.ckpt", nargs="*", type=path, help="of one network")
    parser.add_argument("--run", metavar="DIR", type=path, help="folder of a run, in place of checkpoints")
    parser.add_argument("--best", metavar="N", type=int, default=5, help="how many of the run's, the best (default 5)")
    parser.add_argument("--output", metavar="FILE", required=True, type=path, help="checkpoint to write")
    options = parser.parse_args(argv)
    if bool(options.checkpoints) == (options.run is not None):
        raise UserError("average.py: expected either checkpoints or --run DIR")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    options = _parse(argv)
    check_output_file(options.output, ".ckpt")
    checkpoints: Sequence[Path] = options.checkpoints
    if options.run is not None:
        found = best_checkpoints(RunFolder(options.run.parent, options.run.name), options.best)
        for score, checkpoint in found:
            print(f"{checkpoint}: {score:.2f}")
        checkpoints = [checkpoint for _, checkpoint in found]
    average_checkpoints(checkpoints, options.output)
    config = "CONFIG" if options.run is None else RunFolder(options.run.parent, options.run.name).config
    print_line(written_line(options.output, f"the mean of {len(checkpoints)} checkpoints"))
    print_line(next_line("eval.py", "--config", config, "--checkpoint", options.output))


if __name__ == "__main__":
    run_command(main)
