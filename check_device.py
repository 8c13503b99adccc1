"""Finds out whether a device computes the same function: python check_device.py --device GPU"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

import mindspore as ms  # isort: skip
from tqdm import tqdm

from benchmarks.device_checks import CHECKS
from benchmarks.device_checks.report import (
    describe_device,
    exit_code_of,
    remarks_of,
    summary_of,
    table_of,
    to_dict,
    to_markdown,
)
from benchmarks.device_checks.runner import choose, run_check
from src.devices.device import DEVICES
from src.errors import UserError
from src.files.json_file import write_json
from src.files.output_file import check_output_folder
from src.files.whole_file import make_folder, write_whole
from src.terminal.outcome import next_step, written_line
from src.terminal.progress import print_line
from src.terminal.script_parser import ScriptParser, path
from src.terminal.text_table import terminal_width


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ScriptParser(
        prog="check_device.py",
        usage="python %(prog)s [--device Ascend|GPU|CPU] [--quick] [--only CHECK ...] [--output DIR]",
        description="Compares what a device computes with stored values and with NumPy: operators, networks, training, "
        "files, several devices, and times it. --quick leaves the long ones out. Writes "
        "device_report.json and device_report.md, which docs/results.md says how to send. The exit code is 0 where "
        "everything that applies passed, else 1.",
    )
    parser.add_argument("--device", choices=DEVICES, help="what to check; the first of Ascend, GPU, CPU that is there")
    parser.add_argument("--quick", action="store_true", help="leave out what takes long")
    parser.add_argument(
        "--only", metavar="CHECK", nargs="+", choices=CHECKS, default=[], help=f"of {', '.join(CHECKS)}"
    )
    parser.add_argument("--output", metavar="DIR", type=path, default=Path("device_report"), help="for the reports")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 where everything that applies passed, else 1."""
    options = _parse(argv)
    there = [name for name in DEVICES if ms.hal.is_available(name)]
    device = options.device or there[0]
    if device not in there:
        raise UserError(f"--device {device}: not available to MindSpore {ms.__version__} here, only {', '.join(there)}")
    check_output_folder(options.output)
    names, results, described = choose(options.only, options.quick), [], describe_device(device)
    make_folder(options.output)
    files = [options.output / f"device_report.{ending}" for ending in ("json", "md")]
    with tqdm(
        total=len(names), unit=" checks", dynamic_ncols=True, leave=False, disable=not sys.stderr.isatty()
    ) as bar:
        for name in names:
            bar.set_description(name)
            results.append(run_check(name, device, options.quick, bar.set_postfix_str))
            bar.update(1)
            print_line(f"{results[-1].state:14} {name} ({results[-1].seconds:.0f} s)")
            write_json(files[0], to_dict(described, results, options.quick))  # now, for a device that takes all down
            write_whole(files[1], to_markdown(described, results))
            if not results[-1].has_started:
                break
    print(table_of(results).text(terminal_width()).strip())
    print(*remarks_of(results), sep="\n")
    print(summary_of(results))
    print_line(written_line(files[0], "for programs"))
    print_line(written_line(files[1], "for people"))
    print_line(next_step("send both, see docs/results.md, section Devices"))
    return exit_code_of(results)


if __name__ == "__main__":
    run_command(main)
