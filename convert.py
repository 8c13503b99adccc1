"""Makes a checkpoint of PyTorch weights: python convert.py --input tnt_s_81.5.pth.tar --output tnt_s.ckpt"""

import argparse
from collections.abc import Sequence

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.weights.checkpoint import save_checkpoint  # isort: skip
from src.devices.device import set_up_device
from src.errors import UserError
from src.files.output_file import check_output_file
from src.files.whole_file import write_whole
from src.models import get_variant
from src.terminal.outcome import config_of, next_line, written_line
from src.terminal.progress import print_line
from src.terminal.script_parser import ScriptParser, add_image_size, mapping, path
from src.weights.conversion import REVERSE_NAMES, convert_file, read_class_names, write_reference_file


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ScriptParser(
        prog="convert.py",
        usage="python %(prog)s --input FILE --output FILE.ckpt [options], or --reverse [--names timm] --input "
        "FILE.ckpt --output FILE.safetensors",
        description="Makes a checkpoint of weights of the authors' PyTorch code. PyTorch is not needed, and nothing "
        "in the file is executed.",
    )
    parser.add_argument("--input", metavar="FILE", required=True, type=path, help=".pth, .pth.tar or .safetensors")
    parser.add_argument("--output", metavar="FILE", required=True, type=path, help="checkpoint to write, ends in .ckpt")
    parser.add_argument("--reverse", action="store_true", help="from a checkpoint to .safetensors, bit for bit")
    names = "whose names the arrays get with --reverse; timm has TNT only (default: authors)"
    parser.add_argument("--names", choices=REVERSE_NAMES, help=names)
    only = parser.add_argument_group("not with --reverse")
    only.add_argument("--model", metavar="NAME", help="variant; told by the weights when auto or left out")
    structure = "what differs from the variant, such as '{depth: 4, outer_dim: 96}'"
    only.add_argument("--structure", metavar="YAML", type=mapping, help=structure)
    add_image_size(only, "--image_size", "side, or height and width, in pixels")
    add_image_size(only, "--old_image_size", "what the weights are for, if that is not square")
    only.add_argument("--key", help="entry of the file to take the weights from; averaged (EMA) ones when left out")
    only.add_argument("--classes", metavar="FILE", type=path, help="names of the classes, one a line")
    only.add_argument("--report", metavar="FILE", type=path, help="text file for what became of every array")
    options = parser.parse_args(argv)
    given = [f"--{action.dest}" for action in only._group_actions if getattr(options, action.dest) is not None]
    if options.reverse and given:
        raise UserError(f"convert.py: {given[0]} has no meaning with --reverse")
    if options.names and not options.reverse:
        raise UserError("convert.py: --names has no meaning without --reverse: the names of a file are recognised")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    options = _parse(argv)
    set_up_device("CPU", seed=0, uses_convolution=False)
    check_output_file(options.output, ".safetensors" if options.reverse else ".ckpt")
    if options.output.exists() and options.input.exists() and options.output.samefile(options.input):
        raise UserError(f"--input and --output are the same file, {options.input}; give another --output")
    if options.reverse:
        model = write_reference_file(options.input, options.output, options.names or REVERSE_NAMES[0])
        print(f"{model} from {options.input}")
    else:
        model = _convert(options)
    print_line(written_line(options.output, f"{options.output.stat().st_size / 1e6:.1f} MB"))
    if not options.reverse:
        print_line(next_line("eval.py", "--config", config_of(model), "--checkpoint", options.output, "--data", "DIR"))


def _convert(options: argparse.Namespace) -> str:
    """Returns the name of the network."""
    if options.report is not None:
        check_output_file(options.report)
    if options.model not in (None, "auto"):
        get_variant(options.model)  # a wrong name is told before the file is read
    conversion = convert_file(
        options.input,
        options.model or "auto",
        options.structure,
        options.image_size,
        options.old_image_size,
        options.key,
        None if options.classes is None else read_class_names(options.classes),
    )
    save_checkpoint(options.output, conversion.net.get_parameters(), conversion.card)
    for line in (f"read {options.input}:", *conversion.summary()):
        print_line(line)
    if options.report is not None:
        write_whole(options.report, "\n".join(conversion.lines()) + "\n")
        print_line(written_line(options.report))
    return conversion.card.model


if __name__ == "__main__":
    run_command(main)
