"""Counts parameters and multiply-adds: python complexity.py tnt_s_patch16_224, or mask_rcnn_ptnt_s"""

import argparse
from collections.abc import Sequence

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.complexity.accuracy_plot import draw_accuracy  # isort: skip
from src.complexity.count import count, create_unfilled_detector, create_unfilled_model, is_detector
from src.complexity.paper_formula import compare
from src.complexity.report import WHAT_IS_COUNTED, NetworkCost, to_csv, to_dict, to_markdown, to_text
from src.detection.catalogue import backbone_of
from src.errors import UserError
from src.files.json_file import write_json
from src.files.output_file import check_output_file
from src.files.whole_file import write_whole
from src.models import get_variant, list_models
from src.terminal.outcome import config_of, next_line, written_line
from src.terminal.progress import print_line
from src.terminal.script_parser import ScriptParser, add_image_size, path, whole_number
from src.terminal.text_table import terminal_width

LARGEST_SIDE = 4096


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ScriptParser(
        prog="complexity.py",
        usage="python %(prog)s [NAME ...] [options]",
        description="Counts what networks cost: parameters, and the multiply-adds of one image, in all and by part.",
        epilog=" ".join(WHAT_IS_COUNTED),
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="variants, detectors; all variants when left out")
    sides = "of classifiers: side, or height and width, in pixels; each variant's own when left out"
    add_image_size(parser, "--image_size", sides, LARGEST_SIDE)
    add_image_size(parser, "--canvas", "the same of detectors; 800 1344 when left out", LARGEST_SIDE)
    classes = "1000, of detectors 80, when left out; 0: a classifier without head"
    parser.add_argument("--num_classes", metavar="K", type=whole_number(0, 10**6), help=classes)
    parser.add_argument("--formula", action="store_true", help="TNT only: the paper's closed form beside the count")
    files = parser.add_argument_group("files to write besides")
    files.add_argument("--json", metavar="FILE", type=path, help="exact counts and all that is printed")
    files.add_argument("--csv", metavar="FILE", type=path, help="exact counts, a line for each network")
    files.add_argument("--markdown", metavar="FILE", type=path, help="tables, rounded and exact")
    files.add_argument("--plot", metavar="FILE.png", type=path, help="published accuracy against multiply-adds")
    options = parser.parse_args(argv)
    if options.plot is not None and (options.image_size is not None or options.num_classes not in (None, 1000)):
        raise UserError("--plot: accuracy is published for one size; leave out --image_size and --num_classes")
    for file, ending in ((options.json, ""), (options.csv, ""), (options.markdown, ""), (options.plot, ".png")):
        if file is not None:
            check_output_file(file, ending)
    return options


def _names(options: argparse.Namespace) -> list[str]:
    """The variants and detectors asked for, each once."""
    names = options.names or list_models("tnt_*" if options.formula else "*")
    for name in names:
        detects = is_detector(name)
        (backbone_of if detects else get_variant)(name)
        if options.formula and not name.startswith("tnt_"):
            raise UserError(f"--formula: the closed form is that of the TNT paper; {name} is no TNT")
        if detects and options.plot is not None:
            raise UserError(f"--plot: it has classifiers only; leave out {name}")
        if detects and options.image_size is not None:
            raise UserError(f"--image_size: it is for classifiers; {name} is a detector, give --canvas")
        if not detects and options.canvas is not None:
            raise UserError(f"--canvas: it is for detectors; {name} is a classifier, give --image_size")
    return list(dict.fromkeys(names))


def _cost(name: str, options: argparse.Namespace) -> NetworkCost:
    classes = {} if options.num_classes is None else {"num_classes": options.num_classes}
    if is_detector(name):
        net = create_unfilled_detector(name, options.canvas, **classes)
        return NetworkCost(name, net.canvas, net.num_classes, count(net))
    net = create_unfilled_model(name, options.image_size, **classes)
    return NetworkCost(name, net.image_size, net.num_classes, count(net), compare(net) if options.formula else None)


def main(argv: Sequence[str] | None = None) -> None:
    options = _parse(argv)
    costs = [_cost(name, options) for name in _names(options)]
    print(to_text(costs, terminal_width()))
    if options.json is not None:
        write_json(options.json, to_dict(costs))
    for file, write in ((options.csv, to_csv), (options.markdown, to_markdown), (options.plot, draw_accuracy)):
        if file is not None:
            write_whole(file, write(costs))
    for file in filter(None, (options.json, options.csv, options.markdown, options.plot)):
        print_line(written_line(file), to_stderr=True)
    config = config_of(costs[0].name) if len(costs) == 1 else "CONFIG"
    print_line(next_line("train.py", "--config", config, "--data", "DIR"), to_stderr=True)


if __name__ == "__main__":
    run_command(main)
