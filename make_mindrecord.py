"""Packs a folder of images into MindRecord files: python make_mindrecord.py FOLDER --output DIR"""

import argparse
from collections.abc import Sequence

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.config import Config  # isort: skip
from src.data.class_list import read_class_list
from src.data.mindrecord_shards import MAX_SHARDS, make_mindrecord
from src.data.val_split import ValSplit
from src.errors import UserError
from src.terminal.outcome import next_line, written_line
from src.terminal.progress import print_line
from src.terminal.script_parser import ScriptParser, path, share, whole_number


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ScriptParser(
        prog="make_mindrecord.py",
        usage="python %(prog)s FOLDER --output DIR [--classes FILE] [--val_split SHARE --seed N] [--shards N]",
        description="Packs the images of a folder, one sub-folder a class, into MindRecord files, byte for byte, reads "
        "them back and compares them. Run again after an interruption, it continues after the last finished file. "
        "Train on the result with --data.source mindrecord --data DIR.",
    )
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        type=path,
        help="holds train/ and val/, each with one sub-folder per class, or with --val_split those sub-folders",
    )
    parser.add_argument("--output", metavar="DIR", required=True, type=path, help="new folder for the files")
    parser.add_argument("--classes", metavar="FILE", type=path, help="chooses and orders the classes, see docs/data.md")
    parser.add_argument(
        "--val_split",
        metavar="SHARE",
        type=share,
        help="share of each class that validates, where FOLDER holds the class folders themselves",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=whole_number(0, 2**32 - 1),
        help=f"that of the runs with this --val_split (default {Config.seed})",
    )
    parser.add_argument(
        "--shards",
        metavar="N",
        type=whole_number(1, MAX_SHARDS),
        help="files a split, at most 256; one for every 4 GB when left out",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    options = _parse(argv)
    classes = None if options.classes is None else read_class_list(options.classes)
    if options.val_split is None and options.seed is not None:
        raise UserError("--seed decides which images validate: give --val_split too, or leave it out")
    seed = Config.seed if options.seed is None else options.seed
    val_split = None if options.val_split is None else ValSplit(options.val_split, seed)
    make_mindrecord(options.folder, options.output, options.shards, classes, val_split)
    print_line(written_line(options.output, "MindRecord files of train and val"))
    source = ("--data.source", "mindrecord", "--data", options.output)
    print_line(next_line("train.py", "--config", "CONFIG", *source))


if __name__ == "__main__":
    run_command(main)
