"""The mean of several checkpoints' weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.val_split import trained_on
from ..errors import UserError
from .checkpoint import Checkpoint, read_checkpoint, save_checkpoint


@dataclass(frozen=True)
class _Named:
    name: str
    values: np.ndarray

    def asnumpy(self) -> np.ndarray:
        return self.values


def average_checkpoints(paths: Sequence[str | Path], output: str | Path) -> None:
    """Writes a checkpoint of the mean weights, to be evaluated, exported or started from.

    Running statistics of batch norms are averaged as the weights are (as timm's avg_checkpoints does); the state of
    the optimizer is left out.

    Args:
        paths: at least two checkpoints of one network for the same labels, usually of one run.
        output: the new one.

    Raises:
        UserError: fewer than two, one that cannot be read, or another network's; nothing is written.
    """
    if len(paths) < 2:
        raise UserError(f"expected at least two checkpoints to average, got {len(paths)}")
    first = read_checkpoint(paths[0])
    if first.card is None:
        raise UserError(f"{first.path} does not say of which network it is; convert.py makes a checkpoint that does")
    trained = trained_on(first.progress)
    sums = {name: value.astype(np.float64) for name, value in first.weights.items()}
    for path in paths[1:]:
        other = read_checkpoint(path)
        _check_same(first, other)
        for name, value in other.weights.items():
            sums[name] += value
    weights = [_Named(name, (total / len(paths)).astype(first.weights[name].dtype)) for name, total in sums.items()]
    save_checkpoint(output, weights, first.card, progress=None if trained is None else {"training_data": trained})


def _check_same(first: Checkpoint, other: Checkpoint) -> None:
    if (trained_on(first.progress) or {}) != (trained_on(other.progress) or {}):
        raise UserError(
            f"{other.path} was trained on other images than {first.path}, as data.val_split divides them: there would "
            "be none that the mean has not seen; average checkpoints of one run"
        )
    if other.card != first.card:
        raise UserError(f"{other.path} is of another network, or for other labels or images, than {first.path}")
    shapes = ({name: value.shape for name, value in of.weights.items()} for of in (first, other))
    if next(shapes) != next(shapes):
        raise UserError(f"{other.path} has other arrays than {first.path}")
