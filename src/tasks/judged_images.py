"""What a classifier said of each image of a split."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class JudgedImages:
    """Arrays (N,), one element an image.

    Attributes:
        indices: in the data set, rising.
        labels: that are true.
        predictions: the class with the largest logit.
        probabilities: of the prediction, 0 to 1.
        ranks: of the label among the predictions, from 1.
        losses: cross-entropy.
    """

    indices: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray
    ranks: np.ndarray
    losses: np.ndarray

    @classmethod
    def of_rows(cls, rows: np.ndarray) -> "JudgedImages":
        """From rows (N, 6) float64 of the attributes, in any order."""
        indices, labels, predictions, probabilities, ranks, losses = rows[np.argsort(rows[:, 0])].T
        whole = (values.astype(np.int64) for values in (indices, labels, predictions, ranks))
        indices, labels, predictions, ranks = whole
        return cls(indices, labels, predictions, probabilities, ranks, losses)

    @property
    def are_right(self) -> np.ndarray:
        """(N,) bool."""
        return self.labels == self.predictions

    def __len__(self) -> int:
        return len(self.indices)
