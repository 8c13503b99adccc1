"""Costs of networks as tables for the terminal and for Markdown, as JSON and as CSV."""

import csv
import io
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..detection.catalogue import LABEL_OF_KIND
from ..models import get_variant
from ..terminal.text_table import Table
from .count import MODULES, PARTS, Complexity, is_detector
from .paper_formula import Comparison, Term, block_cost

FAMILIES = {
    **{"tnt": "TNT", "ptnt": "PyramidTNT", "t2t": "T2T-ViT"},
    **{kind.split("_")[0]: label for kind, label in LABEL_OF_KIND.items()},
}
"""What the names of variants and detectors begin with."""

WHAT_IS_COUNTED = (
    "Parameters are all of them, the frozen ones included, as the papers print them; running statistics of batch norm "
    "are none.",
    "Multiply-adds are those of one image, which the papers print as FLOPs: of convolutions, of linear layers and of "
    "the two products in every attention. Not counted: biases, norms, softmax, activations, pooling, gates, and "
    "sums, also those with position tables.",
)
WHAT_IS_COUNTED_OF_DETECTORS = (
    "Detectors: the backbone's position tables are for another image size; counted as position tables are the matrix "
    "products that bring them to the canvas, and in every attention the product of low rank that is its bias. The "
    "upsample neck is counted for all four maps, also for the finest, which RetinaNet's FPN does not use; the head "
    "over all maps. Not counted: boxes of anchors and their suppression.",
)
WHAT_IS_COUNTED_OF_TWO_STAGES = (
    "Detectors with two stages: the RPN head is counted over all maps; a box head for each of {box_head} proposals of "
    "the image, and a mask head for each of {mask_head} detections, as many as there may be. A cascade has three of "
    "either. Not counted: RoIAlign, which cuts the features of a region out of a map.",
)


@dataclass(frozen=True)
class NetworkCost:
    """A variant or a detector, the size it was counted at, and what it costs.

    Attributes:
        name: the variant or detector.
        image_size: (height, width) in pixels; a detector's canvas.
        num_classes: classes of the head; 0 without head.
        complexity: the cost.
        comparison: the TNT paper's closed forms beside it; None where not asked for.
    """

    name: str
    image_size: tuple[int, int]
    num_classes: int
    complexity: Complexity
    comparison: Comparison | None = None

    @property
    def published(self) -> dict[str, float]:
        """The authors' accuracy in percent, {"top1": ..., "top5": ...}; empty at another size than the published, and
        of detectors."""
        if is_detector(self.name):
            return {}
        variant = get_variant(self.name)
        same = self.image_size == (variant.image_size, variant.image_size) and self.num_classes == 1000
        return dict(variant.published or {}) if same else {}


def to_text(costs: Sequence[NetworkCost], columns: int | None = None) -> str:
    """All tables, as wide as a terminal of `columns` (None for no limit), and what is counted."""
    tables = [total_table(costs), *module_tables(costs), *part_tables(costs), *_formulas(costs)]
    notes = [textwrap.fill(note, columns or 100) for note in _what_is_counted(costs)]
    return "\n\n".join([*(table.text(columns) for table in tables), *notes])


def to_markdown(costs: Sequence[NetworkCost]) -> str:
    """All tables, a summary with the published accuracy before them, and what is counted."""
    tables = [summary_table(costs), total_table(costs), *module_tables(costs), *part_tables(costs), *_formulas(costs)]
    return "\n\n".join([*(table.markdown() for table in tables), *_what_is_counted(costs)]) + "\n"


def to_dict(costs: Sequence[NetworkCost]) -> dict[str, Any]:
    """Everything, exact, for a JSON file."""
    return {"what_is_counted": " ".join(_what_is_counted(costs)), "networks": [_network(cost) for cost in costs]}


def to_csv(costs: Sequence[NetworkCost]) -> str:
    """A line for each network, exact; a part that it does not have is 0. With a detector there are columns more: the
    parameters by module, empty of classifiers."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    totals = ["parameters", "trainable_parameters", "multiply_adds"]
    modules = MODULES if any(cost.complexity.parameters_by_module for cost in costs) else ()
    parameters = [f"parameters of {module}" for module in modules]
    writer.writerow(["network", "image_height", "image_width", "classes", *totals, *PARTS, *parameters])
    for cost in costs:
        complexity = cost.complexity
        totals = [complexity.parameters, complexity.trainable, complexity.total]
        parts = [complexity.multiply_adds.get(part, 0) for part in PARTS]
        parameters = [complexity.parameters_by_module.get(module) for module in modules]
        writer.writerow([cost.name, *cost.image_size, cost.num_classes, *totals, *parts, *parameters])
    return file.getvalue()


def summary_table(costs: Sequence[NetworkCost]) -> Table:
    """Rounded, with the published accuracy where there is any."""
    header = ["Network", "Input", "Parameters (M)", "Multiply-adds (G)"]
    rows = [
        [cost.name, _size(cost), f"{cost.complexity.parameters / 1e6:.2f}", f"{cost.complexity.total / 1e9:.2f}"]
        for cost in costs
    ]
    if any(cost.published for cost in costs):
        header += ["Top-1 (%) published", "Top-5 (%) published"]
        for row, cost in zip(rows, costs, strict=True):
            row += [f"{cost.published[key]:.1f}" if key in cost.published else "–" for key in ("top1", "top5")]
    return Table("Summary", header, rows)


def total_table(costs: Sequence[NetworkCost]) -> Table:
    """Parameters and multiply-adds in all."""
    header = ["Network", "Input", "Classes", "Parameters", "Trainable", "Multiply-adds"]
    rows = [
        [
            cost.name,
            _size(cost),
            f"{cost.num_classes}",
            f"{cost.complexity.parameters:,}",
            f"{cost.complexity.trainable:,}",
            f"{cost.complexity.total:,}",
        ]
        for cost in costs
    ]
    return Table("Parameters, and multiply-adds of one image", header, rows)


def module_tables(costs: Sequence[NetworkCost]) -> list[Table]:
    """A table of the detectors' parameters by module; none without detectors."""
    by_module = [(cost.name, cost.complexity.parameters_by_module) for cost in costs]
    modules = [module for module in MODULES if any(module in numbers for _, numbers in by_module)]
    rows = [
        [name, *(f"{numbers[module]:,}" if module in numbers else "–" for module in modules)]
        for name, numbers in by_module
        if numbers
    ]
    return [Table("Parameters of detectors by module", ["Network", *modules], rows)] if rows else []


def part_tables(costs: Sequence[NetworkCost]) -> list[Table]:
    """Multiply-adds by part, a table for each family; parts that none of its networks has are left out."""
    tables = []
    for prefix, family in FAMILIES.items():
        members = [cost for cost in costs if cost.name.split("_")[0] == prefix]
        parts = [part for part in PARTS if any(part in cost.complexity.multiply_adds for cost in members)]
        rows = [
            [cost.name, *(_millions(cost.complexity.multiply_adds.get(part)) for part in parts)] for cost in members
        ]
        if rows:
            tables.append(Table(f"{family}: millions of multiply-adds by part", ["Network", *parts], rows))
    return tables


def formula_tables(name: str, comparison: Comparison) -> list[Table]:
    """The TNT paper's closed forms for one network and for one of its blocks."""
    n, m, c, d, b, i, k = comparison.letters.values()
    sizes = f"n = {n} sentences, m = {m} words of width c = {c}, sentences of width d = {d}"
    blocks = f"b = {b} blocks, i = {i} of them with words, k = {k} classes"
    block = block_cost(n, m, c, d)
    plain, whole = block.plain_multiply_adds, block.tnt_multiply_adds
    rows = [
        ["plain", "2nd(6d + n)", f"{plain:,}", "12d²", f"{block.plain_parameters:,}"],
        [
            "TNT",
            "2nd(6d + n) + 2nmc(6c + m) + nmcd",
            f"{whole:,}",
            "12d² + 12c² + mcd",
            f"{block.tnt_parameters:,}",
        ],
        ["TNT / plain", "–", f"{whole / plain:.3f}", "–", f"{block.tnt_parameters / block.plain_parameters:.3f}"],
        ["plain, output projection forgotten", "2nd(5.5d + n)", f"{block.without_output_projection:,}", "–", "–"],
    ]
    return [
        _term_table(f"{name}, multiply-adds: {sizes}, {blocks}", comparison.multiply_adds),
        _term_table(f"{name}, parameters", comparison.parameters),
        Table(
            f"{name}, one block as the paper counts it",
            ["Block", "Multiply-adds, closed form", "Multiply-adds", "Weights, closed form", "Weights"],
            rows,
        ),
    ]


def _term_table(title: str, terms: Sequence[Term]) -> Table:
    rows = [
        [
            term.part,
            term.formula or "–",
            f"{term.paper:,}",
            f"{term.counted:,}",
            f"{term.added:,}",
            term.reason or "–",
        ]
        for term in terms
    ]
    paper, counted, added = (sum(getattr(term, key) for term in terms) for key in ("paper", "counted", "added"))
    rows.append(["all", "–", f"{paper:,}", f"{counted:,}", f"{added:,}", "–"])
    return Table(title, ["Part", "Paper's term", "Paper", "Counted", "More", "What the paper leaves out"], rows)


def _formulas(costs: Sequence[NetworkCost]) -> list[Table]:
    return [table for cost in costs if cost.comparison for table in formula_tables(cost.name, cost.comparison)]


def _what_is_counted(costs: Sequence[NetworkCost]) -> tuple[str, ...]:
    more = WHAT_IS_COUNTED_OF_DETECTORS if any(is_detector(cost.name) for cost in costs) else ()
    of_two = {part: number for cost in costs for part, number in cost.complexity.regions.items()}
    if of_two:
        numbers = {part.replace(" ", "_"): f"{number:,}" for part, number in of_two.items()}
        more += tuple(note.format(**numbers) for note in WHAT_IS_COUNTED_OF_TWO_STAGES)
    return WHAT_IS_COUNTED + more


def _network(cost: NetworkCost) -> dict[str, Any]:
    complexity, comparison = cost.complexity, cost.comparison
    content = {
        "model": cost.name,
        "image_size": list(cost.image_size),
        "num_classes": cost.num_classes,
        "parameters": complexity.parameters,
        "trainable_parameters": complexity.trainable,
        "multiply_adds": complexity.total,
        "multiply_adds_by_part": complexity.multiply_adds,
        "published_accuracy": cost.published or None,
    }
    if complexity.parameters_by_module:
        content["parameters_by_module"] = complexity.parameters_by_module
    if complexity.regions:
        content["regions_by_part"] = complexity.regions
    if comparison is not None:
        n, m, c, d, *_ = comparison.letters.values()
        content["formula"] = {**asdict(comparison), "block": asdict(block_cost(n, m, c, d))}
    return content


def _size(cost: NetworkCost) -> str:
    height, width = cost.image_size
    return f"{height}" if height == width else f"{height} x {width}"


def _millions(number: int | None) -> str:
    return "–" if number is None else f"{number / 1e6:,.1f}"
