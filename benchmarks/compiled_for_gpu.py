"""Compiles every network and recipe for GPU without one: python benchmarks/compiled_for_gpu.py --markdown FILE

Each case is compiled and run by gpu_dry_run.py in a process of its own: MindSpore's GPU compiler, its choice of kernels
and their checks are real, and nothing is computed. Three outcomes: every operator has a GPU kernel; some have none, and
MindSpore runs them on the CPU; MindSpore refuses. The exit code is 0 where all are the first, else 1. The table is in
docs/results.md.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from importlib.metadata import version  # isort: skip

from benchmarks.dry_run.cases import FOLDERS, KINDS, RECIPE, SUBJECTS, Case, all_cases, choose
from benchmarks.dry_run.outcome import ON_CPU, ON_GPU, Outcome, compile_for_gpu
from benchmarks.dry_run.stand_ins import StandIns, stand_ins
from benchmarks.written_table import WrittenTable
from src.errors import counted
from src.terminal.script_parser import ScriptParser, whole_number
from src.terminal.text_table import Table, terminal_width

HEADINGS = {
    "forward": "inference",
    "forward_float16": "inference, float16",
    "training": "training",
    "training_float16": "training, float16",
    "everything": "everything",
    "everything_float16": "everything, float16",
    "recompute": "recompute",
    "sgd": "SGD",
    "mindir": "MINDIR",
    "mindir_float16": "MINDIR, float16",
    "mindir_any_batch": "MINDIR, any batch",
    "mindir_any_batch_float16": "MINDIR, any batch, float16",
    "recipe": "as configured",
    "recipe_float16": "float16",
}
NONE = "–"


def networks_table(outcomes: Sequence[Outcome]) -> Table:
    """A row for each network, a column for each way that it was compiled in."""
    found = {(outcome.case.subject, outcome.case.kind): outcome for outcome in outcomes}
    kinds = [kind for kind in KINDS if any(kind == of for _, of in found)]
    rows = [
        [subject.title, *(_cell(found.get((name, kind))) for kind in kinds)]
        for name, subject in SUBJECTS.items()
        if any(name == of for of, _ in found)
    ]
    return Table("Small networks with the layers of the published ones", ["", *(HEADINGS[k] for k in kinds)], rows)


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return NONE
    if outcome.state == ON_CPU:
        return f"CPU: {', '.join(outcome.on_cpu)}"
    return "GPU" if outcome.state == ON_GPU else outcome.state


def recipes_table(outcomes: Sequence[Outcome]) -> Table:
    """A row for each folder of config/: how many of its recipes have GPU kernels for everything."""
    rows = []
    for folder, title in FOLDERS.items():
        cells = []
        for kind in RECIPE:
            of = [o for o in outcomes if o.case.kind == kind and o.case.subject.startswith(f"{folder}/")]
            cells.append(f"{sum(o.state == ON_GPU for o in of)} of {len(of)}" if of else NONE)
        if set(cells) != {NONE}:
            rows.append([f"{title}, config/{folder}", *cells])
    return Table("Training steps of the recipes, all on GPU kernels", ["", *(HEADINGS[k] for k in RECIPE)], rows)


def summary(outcomes: Sequence[Outcome]) -> str:
    """How much was compiled, in a line."""
    uses = {use for outcome in outcomes for use in outcome.choice.counts}
    nodes = sum(outcome.choice.num_nodes for outcome in outcomes)
    good = sum(outcome.state == ON_GPU for outcome in outcomes)
    operators = len({use.operator for use in uses})
    return (
        f"MindSpore {version('mindspore')}: {good:,} of {counted(len(outcomes), 'case')} {ON_GPU}; "
        f"{counted(operators, 'operator')} with {len(uses):,} combinations of types, {nodes:,} nodes."
    )


def remarks(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for each case of which the tables do not say what is not on GPU kernels."""
    untold = [outcome for outcome in outcomes if outcome.refusal or outcome.case.is_recipe]
    return [f"- `{outcome.case.name}`: {outcome}" for outcome in untold if outcome.state != ON_GPU]


def _outcomes(cases: Sequence[Case], cuda: StandIns, seconds: int, jobs: int) -> Iterator[Outcome]:
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda case: compile_for_gpu(case, cuda, seconds), cases)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ScriptParser(
        prog="compiled_for_gpu.py", description="Compiles networks and recipes for GPU, where no GPU is needed."
    )
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="names, or patterns such as 'tnt/*'; all when left out"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    seconds = whole_number(1, 100_000)
    parser.add_argument("--seconds", type=seconds, default=900, metavar="N", help="of a case (default 900)")
    jobs = whole_number(1, 1_000)
    parser.add_argument("--jobs", type=jobs, default=1, metavar="N", help="processes at a time (default 1)")
    parser.add_argument(
        "--markdown", metavar="FILE", type=Path, help="document whose tables of this script are replaced"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 where everything is on GPU kernels, else 1."""
    options = _parse(argv)
    if options.list:
        print(*all_cases(), sep="\n")
        return 0
    cases = choose(options.cases)
    place = None if options.markdown is None else WrittenTable(options.markdown, "compiled_for_gpu.py")
    cuda, since, outcomes = stand_ins(), time.monotonic(), []
    for outcome in _outcomes(cases, cuda, options.seconds, options.jobs):
        outcomes.append(outcome)
        print(f"{outcome.case.name}: {outcome}", flush=True)
    networks = [outcome for outcome in outcomes if not outcome.case.is_recipe]
    recipes = [outcome for outcome in outcomes if outcome.case.is_recipe]
    tables = [make(of) for make, of in ((networks_table, networks), (recipes_table, recipes)) if of]
    lines = "\n".join(remarks(outcomes))
    texts = [*(table.text(terminal_width()) for table in tables), lines, summary(outcomes)]
    print(*filter(None, texts), sep="\n\n")
    print(f"{time.monotonic() - since:.0f} s")
    if place is not None:
        parts = [summary(outcomes), *(table.markdown() for table in tables), lines]
        place.write("\n\n".join(filter(None, parts)))
    return 0 if all(outcome.state == ON_GPU for outcome in outcomes) else 1


if __name__ == "__main__":
    run_command(main)
