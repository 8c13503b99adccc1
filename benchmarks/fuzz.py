"""Feeds damaged and hostile inputs to what reads them: python benchmarks/fuzz.py ckpt card sidecar --count 100000

An input must be refused with one line (`UserError`, exit code 2) or read as what it says. Anything else is a failure,
which is printed with its number: another exception, more than one line, the exit code of what may pass by itself, a
value that is not the input's, or seconds without an answer. The same seed gives the same inputs; the exit code is 1
where one failed.
"""

import argparse
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm  # noqa: E402

from benchmarks.fuzz_targets import TARGETS  # noqa: E402
from benchmarks.fuzz_targets.target import Target  # noqa: E402
from src.errors import UserError  # noqa: E402

GOOD = ("accepted", "refused")

SHOWN = 10
"""Failures that are printed."""

LONGEST = 20
"""Seconds that an answer may take, on a machine that others use too."""


def fuzz(target: Target, count: int, seed: int = 0, first: int = 0) -> Counter:
    """Reads `count` mutants, from number `first` on, and counts what became of them."""
    counts: Counter = Counter()
    for number in tqdm(range(first, first + count), disable=not sys.stderr.isatty(), leave=False):
        outcome, details = judge(target, target.draw(Random(f"{seed} {number}")))
        counts[outcome] += 1
        if outcome not in GOOD and sum(counts[name] for name in failures(counts)) <= SHOWN:
            tqdm.write(f"number {number}: {outcome}: {details}")
    return counts


def judge(target: Target, mutant: Any) -> tuple[str, str]:
    """What becomes of a mutant, and details for the case that it must not be."""
    since = time.perf_counter()
    outcome, details = "accepted", ""
    try:
        target.read(mutant)
    except UserError as error:
        outcome, details = "refused", repr(str(error)[:1000])
        if not str(error).isprintable():
            outcome = "message of several lines"
        elif error.exit_code != UserError.exit_code:
            outcome = f"exit code {error.exit_code}"
    except Exception as error:  # whatever it is: that is what is looked for
        outcome, details = type(error).__name__, "".join(traceback.format_exception(error)[-3:])
    if time.perf_counter() - since > LONGEST:
        outcome = f"answer after more than {LONGEST} s"
    return outcome, details


def failures(counts: Counter) -> list[str]:
    """Outcomes that must not be."""
    return [outcome for outcome in counts if outcome not in GOOD]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="+", choices=list(TARGETS), metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--count", type=int, default=10_000, help="inputs of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input, to repeat one")
    options = parser.parse_args(argv)
    failed = False
    for name in options.targets:
        with tempfile.TemporaryDirectory() as folder:
            counts = fuzz(TARGETS[name](Path(folder)), options.count, options.seed, options.first)
        told = ", ".join(f"{number:,} {outcome}" for outcome, number in counts.most_common())
        print(f"{name}: {options.count:,} inputs, seed {options.seed}: {told}", flush=True)
        failed |= bool(failures(counts))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
