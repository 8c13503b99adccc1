"""Makes a checkpoint of PyTorch weights: python convert.py --input tnt_s_81.5.pth.tar --output tnt_s.ckpt"""

import argparse
from collections.abc import Sequence
from typing import Any

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.weights.checkpoint import save_checkpoint  # isort: skip
from src.config.typed_value import shortened
from src.config.yaml_file import parse_yaml
from src.devices.device import set_up_device
from src.errors import UserError
from src.files.output_file import check_output_file
from src.models import get_variant
from src.terminal.progress import print_line
from src.terminal.script_parser import ScriptParser, path, whole_number
from src.weights.conversion import convert_file, read_class_names, write_reference_file

_SIDE = whole_number(1, 16384)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ScriptParser(
        prog="convert.py",
        usage="python %(prog)s --input FILE --output FILE.ckpt [options], or --reverse --input FILE.ckpt --output "
        "FILE.safetensors",
        description="Makes a checkpoint of weights of the authors' PyTorch code. PyTorch is not needed, and nothing "
        "in the file is executed.",
    )
    parser.add_argument("--input", metavar="FILE", required=True, type=path, help=".pth, .pth.tar or .safetensors")
    parser.add_argument("--output", metavar="FILE", required=True, type=path, help="checkpoint to write, ends in .ckpt")
    parser.add_argument("--reverse", action="store_true", help="from a checkpoint to .safetensors, bit for bit")
    only = parser.add_argument_group("not with --reverse")
    only.add_argument("--model", metavar="NAME", help="variant; told by the weights when auto or left out")
    only.add_argument(
        "--structure", metavar="YAML", help="what differs from the variant, such as '{depth: 4, outer_dim: 96}'"
    )
    only.add_argument(
        "--image_size", metavar="SIDE", type=_SIDE, nargs="+", help="side, or height and width, in pixels"
    )
    only.add_argument(
        "--old_image_size",
        metavar="SIDE",
        type=_SIDE,
        nargs="+",
        help="what the weights are for, if that is not square",
    )
    only.add_argument("--key", help="entry of the file to take the weights from; averaged (EMA) ones when left out")
    only.add_argument("--classes", metavar="FILE", type=path, help="names of the classes, one a line")
    only.add_argument("--report", metavar="FILE", type=path, help="text file for what became of every array")
    options = parser.parse_args(argv)
    given = [f"--{action.dest}" for action in only._group_actions if getattr(options, action.dest) is not None]
    if options.reverse and given:
        raise UserError(f"convert.py: {given[0]} has no meaning with --reverse")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    options = _parse(argv)
    set_up_device("CPU", seed=0, uses_convolution=False)
    check_output_file(options.output, ".safetensors" if options.reverse else ".ckpt")
    if options.output.exists() and options.input.exists() and options.output.samefile(options.input):
        raise UserError(f"--input and --output are the same file, {options.input}; give another --output")
    if options.reverse:
        model = write_reference_file(options.input, options.output)
        print(f"{model} from {options.input}")
    else:
        _convert(options)
    print(f"wrote {options.output} ({options.output.stat().st_size / 1e6:.1f} MB)")


def _convert(options: argparse.Namespace) -> None:
    if options.report is not None:
        check_output_file(options.report)
    if options.model not in (None, "auto"):
        get_variant(options.model)  # a wrong name is told before the file is read
    conversion = convert_file(
        options.input,
        model=options.model or "auto",
        structure=_structure(options.structure),
        image_size=_height_width("--image_size", options.image_size),
        old_image_size=_height_width("--old_image_size", options.old_image_size),
        key=options.key,
        classes=None if options.classes is None else read_class_names(options.classes),
    )
    save_checkpoint(options.output, conversion.net.get_parameters(), conversion.card)
    for line in (f"read {options.input}:", *conversion.summary()):
        print_line(line)
    if options.report is not None:
        options.report.write_text("\n".join(conversion.lines()) + "\n", encoding="utf-8")
        print(f"wrote {options.report}")


def _height_width(option: str, sides: list[int] | None) -> tuple[int, int] | None:
    if sides is None:
        return None
    if len(sides) > 2:
        raise UserError(f"{option}: expected a side, or height and width, in pixels, got {' '.join(map(str, sides))}")
    return (sides[0], sides[-1])


def _structure(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    expected = f"--structure: expected something like '{{depth: 4, outer_dim: 96}}', got {shortened(text)!r}"
    structure = parse_yaml(text, expected)
    if not isinstance(structure, dict):
        raise UserError(expected)
    return structure


if __name__ == "__main__":
    run_command(main)
