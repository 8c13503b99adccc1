"""Which of the checkpoints that a run kept had the best scores."""

from pathlib import Path

from ..errors import UserError
from ..weights.checkpoint import read_checkpoint
from .run_folder import RunFolder, step_of

_NOT_SCORES = {"kind", "step", "epoch"}


def best_checkpoints(folder: RunFolder, count: int) -> list[tuple[float, Path]]:
    """Scores of the weights themselves, and checkpoints, the best first, of equal ones the later.

    Args:
        folder: of the run.
        count: how many; `train.keep_checkpoints` of the run decides how many there are.

    Raises:
        UserError: fewer were kept and evaluated.
    """
    scores = {}
    for entry in folder.read_metrics():
        if entry["kind"] == "eval":  # the deciding score is the first
            scores[entry["step"]] = next(value for name, value in entry.items() if name not in _NOT_SCORES)
    kept = [(step_of(path), path) for path in folder.earlier_checkpoints()]
    if folder.last.exists():
        kept.append((read_checkpoint(folder.last).progress["step"], folder.last))
    found = [(scores[step], step, path) for step, path in kept if step in scores]
    if len(found) < count:
        raise UserError(
            f"{folder.path} has {len(found)} checkpoints that were evaluated, expected {count}: train with "
            "train.keep_checkpoints of as many or more, or ask for fewer"
        )
    return [(score, path) for score, _, path in sorted(found, reverse=True)[:count]]
