"""Portability audit: what MindSpore documents, for each device, about the operators of a network and its training step.

Three answers: 'yes', 'no' (the docstring names other devices only) and 'unknown' (nobody says anything). Where no
docstring speaks, src/portability/by_hand.py may; nothing else makes a 'yes'. docs/portability.md says what this misses.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ..config import Config
from ..devices.device import set_up_device
from ..engine.from_config import create_schedule, create_train_step
from ..errors import UserError, nearest
from ..tasks import create_task
from ..tasks.task import Task
from ..terminal.text_table import Table
from ..weights.checkpoint import read_checkpoint
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


def audit(config: Config, task: Task, targets: Sequence[str] = PLATFORMS) -> Audit:
    """Looks at the network of `task` in evaluation, and at one step of its training as `config` has it.

    A device must have been set up; nothing is trained, and weights do not matter.

    Args:
        config: of training: optimizer, precision, accumulation, moving average, clipping.
        task: whose card is decided.
        targets: of Ascend, GPU, CPU.

    Raises:
        UserError: an unknown target, or a configuration that does not fit the network.
    """
    targets = check_targets(targets)  # before anything is compiled
    graphs = {"inference": inference_operators(task), "training": training_operators(config, task)}
    return audit_graphs(task.card.model, graphs, targets)


def audit_configuration(
    config: Config, checkpoint: str | None, given: Mapping[str, Any], targets: Sequence[str] = PLATFORMS
) -> Audit:
    """Sets the device up and audits the network of a checkpoint, or that of a configuration, for which no data is read.

    Args:
        config: of the run.
        checkpoint: file with the network; None for the configuration's.
        given: what the command line says itself, see `card_of`.
        targets: of Ascend, GPU, CPU.

    Raises:
        UserError: the checkpoint cannot be read, and as `audit` does.
    """
    task = create_task(config)
    if checkpoint is None:
        task.open_without_data()
    else:
        task = create_task(config, task.card_of(read_checkpoint(checkpoint), given))
    set_up_device(config.device, config.seed, task.uses_convolution)
    return audit(config, task, targets)


def inference_operators(task: Task) -> Counter[str]:
    """Operators of a task's predictions, for any batch size where one graph is, as the exporter sees them."""
    cell = task.create_predictions(task.create_network(for_training=False)).set_train(False)
    batch_size = None if task.takes_any_batch else 1
    return list_operators(cell, *(_of_shape(batch_size, array) for array in task.example_inputs(1)))


def training_operators(config: Config, task: Task) -> Counter[str]:
    """Operators of a whole training step on one device: derivatives, clipping, update, average, loss scale."""
    batch_size, net = config.train.batch_size, task.create_network(for_training=True)
    schedule = create_schedule(config, steps_per_epoch=100, images_per_step=batch_size * config.train.accumulate)
    step = create_train_step(config, task.create_losses(net), net, schedule)
    return list_operators(step, *(_of_shape(batch_size, array) for array in task.example_batch(1)))


def _of_shape(batch_size: int | None, example: np.ndarray) -> Tensor:
    """A tensor without values for a batch of any size, or of one, of which `example` has a row."""
    return Tensor(shape=[batch_size, *example.shape[1:]], dtype=Tensor.from_numpy(example).dtype)


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
