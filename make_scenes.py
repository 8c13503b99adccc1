"""Makes a small data set to learn detection from, with nothing to download: python make_scenes.py OUTPUT"""

import argparse
import os
from collections.abc import Sequence

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.data.scenes import LARGEST, SMALLEST, make_scenes  # isort: skip
from src.config.shipped import SHIPPED
from src.terminal.outcome import next_line, written_line
from src.terminal.progress import print_line
from src.terminal.script_parser import ScriptParser, path, whole_number

MOST = 100_000


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ScriptParser(
        prog="make_scenes.py",
        usage="python %(prog)s OUTPUT [--size 192] [--train 400] [--val 100] [--seed 0]",
        description="Puts scikit-learn's handwritten digits on crops of its two photographs and writes the scenes with "
        "boxes and masks in COCO layout: annotations/instances_train2017.json, train2017/, and the same for val2017. "
        "Digits and crops of validation are not those of training.",
    )
    parser.add_argument("output", metavar="OUTPUT", type=path, help="new folder for images and annotations")
    parser.add_argument(
        "--size",
        metavar="SIDE",
        type=whole_number(SMALLEST, LARGEST),
        default=192,
        help=f"side of the square scenes in pixels, {SMALLEST} to {LARGEST} (default 192)",
    )
    for name, default in (("train", 400), ("val", 100)):
        parser.add_argument(
            f"--{name}",
            metavar="N",
            type=whole_number(1, MOST),
            default=default,
            help=f"scenes of the split {name} (default {default})",
        )
    parser.add_argument(
        "--seed", metavar="N", type=whole_number(0, 2**32 - 1), default=0, help="decides the scenes (default 0)"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    options = _parse(argv)
    is_new = make_scenes(
        options.output, size=options.size, num_train=options.train, num_val=options.val, seed=options.seed
    )
    size = f"{options.size} x {options.size} pixels"
    content = f"{options.train} training and {options.val} validation scenes of {size}"
    print_line(written_line(options.output, content if is_new else f"already there, the same: {content}"))
    config = os.path.relpath(SHIPPED / "demo" / "retinanet_scenes.yaml")
    print_line(next_line("train.py", "--config", config, "--data", options.output))


if __name__ == "__main__":
    run_command(main)
