"""Boxes from the logits and deltas of a detector's ONNX file, on the host: those of `RetinaNetPredictions`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..detection.box_coding import RATIO_CLIP
from ..detection.boxes import pairwise_iou
from ..rule import number, whole
from ..weights.model_card import check_rules

_RULES = {
    "score_threshold": number(0, 1),
    "candidates": whole(1, 1_000_000),
    "iou_threshold": number(0, 1),
    "max_per_image": whole(1, 1_000_000),
}


@dataclass(frozen=True)
class BoxChoice:
    """Which boxes stay; `RetinaNetPredictions` says what the numbers mean, and `TwoStagePredictions` of two stages.

    `candidates` are pairs of an anchor and a class of each map; of two stages they are pairs of a region and a class of
    an image. Only those of one stage are chosen by calling it.

    Raises:
        UserError: a value is of another kind or range.
    """

    score_threshold: float = 0.05
    candidates: int = 1000
    iou_threshold: float = 0.5
    max_per_image: int = 100

    def __post_init__(self) -> None:
        check_rules(self, _RULES)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "BoxChoice":
        """Reads the numbers of a description, which may hold more; a missing one is refused."""
        return BoxChoice(**{field.name: values.get(field.name) for field in fields(BoxChoice)})

    def __call__(
        self,
        logits: np.ndarray,
        deltas: np.ndarray,
        anchors: Sequence[np.ndarray],
        shapes: np.ndarray,
        scales: np.ndarray,
    ) -> tuple[np.ndarray, ...]:
        """Decodes and suppresses, in float32.

        Args:
            logits: (B, A, K).
            deltas: (B, A, 4).
            anchors: those of each map, (n, 4); A in all.
            shapes: (B, 2), (height, width) that each image fills.
            scales: (B, 2), factors of width and height by which it was resized.

        Returns:
            boxes (B, m, 4), scores (B, m), labels (B, m) int32, counts (B,) int32, see `RetinaNetPredictions`.
        """
        batch = zip(logits, deltas, shapes, scales, strict=True)
        images = [self._of_image(*image[:2], anchors, *image[2:]) for image in batch]
        return tuple(np.stack(outputs) for outputs in zip(*images, strict=True))

    def _of_image(self, logits, deltas, anchors, shape, scale) -> tuple[np.ndarray, ...]:
        m = self.max_per_image
        boxes, scores = np.zeros((m, 4), np.float32), np.zeros(m, np.float32)
        labels = np.full(m, -1, np.int32)
        if not (np.isfinite(logits).all() and np.isfinite(deltas).all()):
            return boxes, scores, labels, np.int32(-1)
        ends = np.cumsum([len(level) for level in anchors])[:-1]
        levels = zip(np.split(logits, ends), np.split(deltas, ends), anchors, strict=True)
        found = [self._candidates(*level, shape) for level in levels]
        kept = self._kept(*(np.concatenate(parts) for parts in zip(*found, strict=True)), np.tile(scale, 2))
        count = len(kept[0])
        boxes[:count], scores[:count], labels[:count] = kept
        return boxes, scores, labels, np.int32(count)

    def _candidates(self, logits, deltas, anchors, shape) -> tuple[np.ndarray, ...]:
        """The best pairs of an anchor and a class of one map: boxes on the canvas, scores, labels, whether they count.

        Where too few have the score the first others stand in, as in the graph: the shift of `_kept` depends on them.
        """
        with np.errstate(over="ignore"):
            scores = (1 / (1 + np.exp(-logits))).ravel()  # A * K
        k = min(self.candidates, len(scores))
        above = np.flatnonzero(scores > np.float32(self.score_threshold))
        others = np.setdiff1d(np.arange(k), above)[: max(k - len(above), 0)]
        pairs = np.concatenate([above[np.argsort(-scores[above], kind="stable")[:k]], others])
        rows, labels = np.divmod(pairs, logits.shape[1])
        boxes, scores = decode(anchors[rows], deltas[rows], shape), scores[pairs]
        has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return boxes, scores, labels, has_area & (scores > np.float32(self.score_threshold))

    def _kept(self, boxes, scores, labels, counts, scale) -> tuple[np.ndarray, ...]:
        """What stays of the candidates of an image, the best first, in its own pixels; classes apart by a shift."""
        boxes = boxes / scale
        span = np.float32(2 * np.abs(boxes).max() + 1)
        chosen = np.flatnonzero(counts)
        chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
        moved = boxes[chosen] + (labels[chosen].astype(np.float32) * span)[:, None]
        stays, left = [], np.arange(len(chosen))
        while len(left) and len(stays) < self.max_per_image:
            best, left = left[0], left[1:]
            stays.append(best)
            left = left[pairwise_iou(moved[best][None], moved[left])[0] <= np.float32(self.iou_threshold)]
        chosen = chosen[stays]
        return boxes[chosen], scores[chosen], labels[chosen]


def decode(anchors: np.ndarray, deltas: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Anchors (n, 4), deltas (n, 4) -> boxes (n, 4) inside of an image of (height, width), see `DecodeBoxes`."""
    limit = np.float32(abs(math.log(RATIO_CLIP)))
    sizes, centres = anchors[:, 2:] - anchors[:, :2], (anchors[:, :2] + anchors[:, 2:]) * np.float32(0.5)
    centres = centres + deltas[:, :2] * sizes
    halves = np.float32(0.5) * sizes * np.exp(np.clip(deltas[:, 2:], -limit, limit))
    height, width = shape
    corners = np.concatenate([centres - halves, centres + halves], axis=1)
    return np.clip(corners, 0, np.array([width, height, width, height], np.float32))
