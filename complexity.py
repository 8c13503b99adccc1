"""Counts parameters and multiply-adds: python complexity.py tnt_s_patch16_224"""

import argparse
import shutil
import sys
from collections.abc import Sequence

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.complexity.accuracy_plot import draw_accuracy  # isort: skip
from src.complexity.count import count, create_unfilled_model
from src.complexity.paper_formula import compare
from src.complexity.report import WHAT_IS_COUNTED, NetworkCost, to_csv, to_dict, to_markdown, to_text
from src.errors import UserError
from src.files.json_file import write_json
from src.files.output_file import check_output_file
from src.files.whole_file import write_whole
from src.models import get_variant, list_models
from src.terminal.script_parser import ScriptParser, path, whole_number

LARGEST_SIDE = 4096


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ScriptParser(
        prog="complexity.py",
        usage="python %(prog)s [NAME ...] [options]",
        description="Counts what networks cost: parameters, and the multiply-adds of one image, in all and by part.",
        epilog=" ".join(WHAT_IS_COUNTED),
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="variants; all when left out")
    parser.add_argument(
        "--image_size",
        metavar="SIDE",
        type=whole_number(1, LARGEST_SIDE),
        nargs="+",
        help="side, or height and width, in pixels; each variant's own when left out",
    )
    parser.add_argument("--num_classes", metavar="K", type=whole_number(0, 10**6), default=1000, help="0: without head")
    parser.add_argument("--formula", action="store_true", help="TNT only: the paper's closed form beside the count")
    files = parser.add_argument_group("files to write besides")
    files.add_argument("--json", metavar="FILE", type=path, help="exact counts and all that is printed")
    files.add_argument("--csv", metavar="FILE", type=path, help="exact counts, a line for each network")
    files.add_argument("--markdown", metavar="FILE", type=path, help="tables, rounded and exact")
    files.add_argument("--plot", metavar="FILE.png", type=path, help="published accuracy against multiply-adds")
    options = parser.parse_args(argv)
    if options.image_size is not None and len(options.image_size) > 2:
        sides = " ".join(map(str, options.image_size))
        raise UserError(f"--image_size: expected a side, or height and width, in pixels, got {sides}")
    if options.plot is not None and (options.image_size is not None or options.num_classes != 1000):
        raise UserError("--plot: accuracy is published for one size; leave out --image_size and --num_classes")
    for file, ending in ((options.json, ""), (options.csv, ""), (options.markdown, ""), (options.plot, ".png")):
        if file is not None:
            check_output_file(file, ending)
    return options


def _names(names: Sequence[str], formula: bool) -> list[str]:
    """The variants asked for, each once."""
    if not names:
        return list_models("tnt_*" if formula else "*")
    for name in names:
        get_variant(name)
        if formula and not name.startswith("tnt_"):
            raise UserError(f"--formula: the closed form is that of the TNT paper; {name} is no TNT")
    return list(dict.fromkeys(names))


def main(argv: Sequence[str] | None = None) -> None:
    options = _parse(argv)
    size = options.image_size and (options.image_size[0], options.image_size[-1])
    costs = []
    for name in _names(options.names, options.formula):
        net = create_unfilled_model(name, size, options.num_classes)
        comparison = compare(net) if options.formula else None
        costs.append(NetworkCost(name, net.image_size, net.num_classes, count(net), comparison))
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(to_text(costs, columns))
    if options.json is not None:
        write_json(options.json, to_dict(costs))
    for file, write in ((options.csv, to_csv), (options.markdown, to_markdown), (options.plot, draw_accuracy)):
        if file is not None:
            write_whole(file, write(costs))


if __name__ == "__main__":
    run_command(main)
