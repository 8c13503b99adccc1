"""Detections of an exported file beside the network's.

Where two runtimes differ in the last digit, that digit can decide which of two boxes that overlap stays, and which of
two scores comes first. So detections are not compared row by row: each is looked for on the other side.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Matches:
    """What two runs find.

    Attributes:
        number: detections that both find.
        total: detections of the run that has more, each image by itself.
        largest_difference: of what both find: of a coordinate in `side`, of a score, of a mask's probability.
    """

    number: int
    total: int
    largest_difference: float


def match_detections(got: Sequence[np.ndarray], expected: Sequence[np.ndarray], side: float, allowed: float) -> Matches:
    """Finds the detections of each image among the other's.

    Two are the same where their label is, and no coordinate, score or probability differs by more than `allowed`.

    Args:
        got, expected: boxes (B, m, 4), scores (B, m), labels (B, m), counts (B,), masks (B, m, S, S).
        side: coordinates are divided by it.
        allowed: see above.

    Returns:
        NaN as the largest difference where the outputs of one are not finite.
    """
    number, total, largest = 0, 0, 0.0
    for one, other in zip(zip(*got, strict=True), zip(*expected, strict=True), strict=True):
        counts = int(one[3]), int(other[3])
        if min(counts) < 0:
            return Matches(0, max(counts), float("nan"))
        total += max(counts)
        differences = _differences(
            *(_first(values, count, side) for values, count in zip((one, other), counts, strict=True))
        )
        while differences.size and differences.min() <= allowed:
            mine, theirs = np.unravel_index(differences.argmin(), differences.shape)
            number, largest = number + 1, max(largest, float(differences[mine, theirs]))
            differences = np.delete(np.delete(differences, mine, axis=0), theirs, axis=1)
    return Matches(number, total, largest)


def _first(image: Sequence[np.ndarray], count: int, side: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,), and coordinates, score and probabilities of each in a row (n, v)."""
    boxes, scores, labels, _, masks = image
    values = [boxes / side, scores[:, None], masks.reshape(len(masks), -1)]
    return labels[:count], np.concatenate(values, axis=1)[:count]


def _differences(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The largest of each pair, (n, m); infinite where labels differ."""
    found = np.full((len(one[0]), len(other[0])), np.inf)
    for row, (label, values) in enumerate(zip(*one, strict=True)):
        same = np.flatnonzero(other[0] == label)
        found[row, same] = np.abs(other[1][same] - values).max(axis=1)
    return found
