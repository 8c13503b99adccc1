"""Portability audit: what MindSpore documents, for each device, about the operators of a network and its training step.

Three answers: 'yes', 'no' (the docstring names other devices only) and 'unknown' (nobody says anything). Where no
docstring speaks, src/portability/by_hand.py may; nothing else makes a 'yes'. docs/portability.md says what this misses.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import mindspore as ms
from mindspore import Tensor

from ..config import Config
from ..engine.build import create_schedule, create_train_step, create_training_network
from ..errors import UserError, nearest
from ..terminal.text_table import Table
from ..weights.model_card import ModelCard
from .by_hand import TABLE
from .docstrings import PLATFORMS, find_statement
from .graph_operators import list_operators


@dataclass(frozen=True)
class Row:
    """An operator.

    Attributes:
        operator: MindSpore's name of the primitive.
        graphs: names of the graphs that call it.
        answers: 'yes', 'no' or 'unknown' for each target.
        source: of the answers; empty where nothing is known.
    """

    operator: str
    graphs: tuple[str, ...]
    answers: dict[str, str]
    source: str


@dataclass(frozen=True)
class Audit:
    """The operators of some graphs, in alphabetical order.

    Attributes:
        subject: what was looked at, in words.
        targets: devices that were asked for.
        rows: one for each operator.
    """

    subject: str
    targets: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def unknown_share(self) -> float:
        """Share of the operators whose answer is unknown for at least one target, in [0, 1]."""
        return sum("unknown" in row.answers.values() for row in self.rows) / max(len(self.rows), 1)

    def missing(self, target: str) -> list[str]:
        """Operators that are documented, but not for `target`."""
        return [row.operator for row in self.rows if row.answers[target] == "no"]

    def check(self) -> None:
        """Raises: UserError that names the operators documented as missing on a target."""
        missing = {target: operators for target in self.targets if (operators := self.missing(target))}
        if missing:
            listed = "; ".join(f"{target}: {', '.join(operators)}" for target, operators in missing.items())
            raise UserError(
                f"{self.subject}: MindSpore {ms.__version__} documents operators for other devices only ({listed}); "
                "give --target with the devices that matter, or replace the operators"
            )

    def summary(self) -> str:
        """Counts for each target, and the share left unknown."""
        counts = {target: Counter(row.answers[target] for row in self.rows) for target in self.targets}
        parts = [f"{t} {c['yes']} yes, {c['no']} no, {c['unknown']} unknown" for t, c in counts.items()]
        unknown = sum("unknown" in row.answers.values() for row in self.rows)
        return (
            f"{len(self.rows)} operators: {'; '.join(parts)}. "
            f"Left unknown for at least one of them: {unknown} of {len(self.rows)} ({100 * self.unknown_share:.1f} %)."
        )

    def to_text(self, columns: int | None = None) -> str:
        """The table, as wide as a terminal of `columns`, and the summary."""
        return f"{self._table().text(columns)}\n\n{self.summary()}"

    def to_markdown(self) -> str:
        """The same in GitHub's Markdown."""
        return f"{self._table().markdown()}\n\n{self.summary()}"

    def _table(self) -> Table:
        everywhere = max((len(row.graphs) for row in self.rows), default=0)
        rows = [
            [
                row.operator,
                "all" if len(row.graphs) == everywhere > 1 else ", ".join(row.graphs),
                *(row.answers[target] for target in self.targets),
                row.source or "-",
            ]
            for row in self.rows
        ]
        return Table(f"{self.subject}, MindSpore {ms.__version__}", ["Operator", "In", *self.targets, "Source"], rows)


def audit(config: Config, card: ModelCard, targets: Sequence[str] = PLATFORMS) -> Audit:
    """Looks at the network of `card` in evaluation, and at one step of its training as `config` has it.

    A device must have been set up; nothing is trained, and weights do not matter.

    Args:
        config: of training: optimizer, precision, accumulation, moving average, clipping.
        card: the network.
        targets: of Ascend, GPU, CPU.

    Raises:
        UserError: an unknown target, or a configuration that does not fit the network.
    """
    targets = check_targets(targets)  # before anything is compiled
    graphs = {"inference": inference_operators(card), "training": training_operators(config, card)}
    return audit_graphs(card.model, graphs, targets)


def inference_operators(card: ModelCard) -> Counter[str]:
    """Operators of the network of `card` in evaluation, for any batch size, as the exporter sees them."""
    images = Tensor(shape=[None, card.in_channels, *card.image_size], dtype=ms.float32)
    return list_operators(card.create_network(), images)


def training_operators(config: Config, card: ModelCard) -> Counter[str]:
    """Operators of a whole training step on one device: derivatives, clipping, update, average, loss scale."""
    batch_size = config.train.batch_size
    images = Tensor(shape=[batch_size, card.in_channels, *card.image_size], dtype=ms.float32)
    if config.data.mixup > 0 or config.data.cutmix > 0:
        targets = Tensor(shape=[batch_size, len(card.classes)], dtype=ms.float32)
    else:
        targets = Tensor(shape=[batch_size], dtype=ms.int32)
    schedule = create_schedule(config, steps_per_epoch=100, images_per_step=batch_size * config.train.accumulate)
    return list_operators(create_train_step(config, create_training_network(config, card), schedule), images, targets)


def audit_graphs(subject: str, graphs: dict[str, Iterable[str]], targets: Sequence[str] = PLATFORMS) -> Audit:
    """What is documented about the operators of some graphs.

    Args:
        subject: what they belong to, in words.
        graphs: name of each, and its operators.
        targets: of Ascend, GPU, CPU.
    """
    targets = check_targets(targets)
    operators = sorted({operator for found in graphs.values() for operator in found})
    rows = []
    for operator in operators:
        answers, source = _look_up(operator)
        where = tuple(name for name, found in graphs.items() if operator in found)
        rows.append(Row(operator, where, {target: answers[target] for target in targets}, source))
    return Audit(subject, targets, tuple(rows))


def check_targets(targets: Sequence[str]) -> tuple[str, ...]:
    """`targets` in the usual order, each once.

    Raises:
        UserError: one is no device of MindSpore, or there is none.
    """
    for target in targets:
        if target not in PLATFORMS:
            raise UserError(f"--target: {target!r} is no device of MindSpore; {nearest(target, PLATFORMS)}")
    if not targets:
        raise UserError(f"--target: expected at least one of {', '.join(PLATFORMS)}")
    return tuple(name for name in PLATFORMS if name in targets)


def _look_up(operator: str) -> tuple[dict[str, str], str]:
    """Answer for each device, and the source."""
    if statement := find_statement(operator):
        return {name: "yes" if name in statement.platforms else "no" for name in PLATFORMS}, statement.source
    entry = TABLE.get(operator)
    if entry is None:
        return dict.fromkeys(PLATFORMS, "unknown"), ""
    parts = [_look_up(part)[0] for part in entry.parts]
    answers = {
        name: "yes" if name in entry.platforms or parts and all(part[name] == "yes" for part in parts) else "unknown"
        for name in PLATFORMS
    }
    return answers, entry.source
