"""Packs a folder of images into MindRecord files: python make_mindrecord.py FOLDER --output DIR"""

import argparse
from collections.abc import Sequence

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.data.mindrecord_shards import MAX_SHARDS, make_mindrecord  # isort: skip
from src.terminal.outcome import next_line, written_line
from src.terminal.progress import print_line
from src.terminal.script_parser import ScriptParser, path, whole_number


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ScriptParser(
        prog="make_mindrecord.py",
        usage="python %(prog)s FOLDER --output DIR [--shards N]",
        description="Packs the images of an ImageNet-layout folder into MindRecord files, byte for byte, reads them "
        "back and compares them. Run again after an interruption, it continues after the last finished file. Train on "
        "the result with --data.source mindrecord --data DIR.",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", type=path, help="holds train/ and val/, each with one sub-folder per class"
    )
    parser.add_argument("--output", metavar="DIR", required=True, type=path, help="new folder for the files")
    parser.add_argument(
        "--shards",
        metavar="N",
        type=whole_number(1, MAX_SHARDS),
        help="files a split, at most 256; one for every 4 GB when left out",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    options = _parse(argv)
    make_mindrecord(options.folder, options.output, options.shards)
    print_line(written_line(options.output, "MindRecord files of train and val"))
    source = ("--data.source", "mindrecord", "--data", options.output)
    print_line(next_line("train.py", "--config", "CONFIG", *source))


if __name__ == "__main__":
    run_command(main)
