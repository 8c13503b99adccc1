"""Accuracy and cross-entropy over a whole split."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.loader import Dataset
from ..devices.ranks import Exchange, Ranks
from ..errors import UserError
from ..terminal.text_table import Table
from .classification_report import ClassificationReport
from .judged_images import JudgedImages
from .scores import NotFiniteError, ScoreKind, Scores

SCORE_KINDS = (
    ScoreKind("top1", "top-1", "%"),
    ScoreKind("top5", "top-5", "%"),
    ScoreKind("loss", "loss", is_loss=True),
)
"""Percentages of images whose label is the first, or among the first five predictions, and the mean cross-entropy."""


def score_kinds(num_classes: int) -> tuple[ScoreKind, ...]:
    """`SCORE_KINDS`; with five classes or fewer nobody is told that all labels are among the first five predictions."""
    if num_classes > 5:
        return SCORE_KINDS
    return tuple(kind._replace(is_told=False, is_drawn=False) if kind.name == "top5" else kind for kind in SCORE_KINDS)


class ClassificationScorer:
    """Takes note of every image, in float64.

    Attributes:
        judged: all images, here and on the other ranks, by their index; after `scores`.

    Args:
        classes: label of each output.
        dataset: where the images come from; names them in messages, and shows them in a report.
    """

    def __init__(self, classes: Sequence[str], dataset: Dataset):
        self._classes, self._dataset = classes, dataset
        self._rows: list[np.ndarray] = []
        self._not_finite: list[int] = []  # indices in the data set

    def add(self, outputs: np.ndarray, truth: tuple[np.ndarray, ...], num_valid: int) -> None:
        """Takes note of logits (B, K), labels (B,) and the indices (B,) of the images in the data set.

        Among equal logits the lower class index is first. An image whose logits are not all finite counts nowhere, and
        is noted.
        """
        logits, (labels, indices) = outputs[:num_valid], (array[:num_valid] for array in truth)
        finite = np.isfinite(logits).all(axis=1)
        self._not_finite += indices[~finite].tolist()
        logits, labels, indices = logits[finite].astype(np.float64), labels[finite], indices[finite]
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(axis=1))
        order = np.argsort(-logits, axis=1, kind="stable")
        ranks = 1 + np.argmax(order == labels[:, None], axis=1)
        losses = log_sum - shifted[np.arange(len(labels)), labels]
        self._rows.append(np.stack([indices, labels, order[:, 0], np.exp(-log_sum), ranks, losses], axis=1))

    def scores(self, exchange: Exchange | None = None) -> Scores:
        """The scores of everything added so far, here and on the other ranks.

        Raises:
            NotFiniteError: on every rank, where outputs are not finite on any; says for how many images, and names the
                first.
            UserError: there was no image.
        """
        exchange = exchange or Exchange(Ranks())
        rows = exchange.rows(np.concatenate([np.zeros((0, 6)), *self._rows]))
        if not_finite := exchange.union(self._not_finite):
            raise NotFiniteError(
                f"the network's outputs are not finite for {len(not_finite)} of {len(rows) + len(not_finite)} images, "
                f"the first is {self._dataset.describe(min(not_finite))}: its weights are damaged or its training "
                "diverged"
            )
        if not len(rows):
            raise UserError("no image could be evaluated")
        self.judged = JudgedImages.of_rows(rows)
        top1, top5 = (100.0 * float(np.mean(self.judged.ranks <= count)) for count in (1, 5))
        return Scores(score_kinds(len(self._classes)), (top1, top5, float(self.judged.losses.mean())), len(rows))

    def table(self) -> Table:
        """Precision, recall and F1 of each class."""
        return ClassificationReport(self.judged, self._classes).table()

    def write_report(self, folder: Path) -> list[str]:
        """See `ClassificationReport.write`."""
        return ClassificationReport(self.judged, self._classes).write(folder, self._dataset)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Logits (B, K) -> probabilities (B, K) float64."""
    values = logits.astype(np.float64)
    values = np.exp(values - values.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)
