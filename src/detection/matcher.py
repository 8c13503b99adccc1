"""Which anchor or proposal is to find which box.

Source: Ren et al., Faster R-CNN, 2015, section 3.1.2; rules of mmdetection's MaxIoUAssigner 3.3.0.
"""

from dataclasses import dataclass

import numpy as np

from .boxes import pairwise_iof, pairwise_iou

BACKGROUND, IGNORED = -1, -2


@dataclass(frozen=True)
class Matcher:
    """By the overlap with the box that overlaps most.

    Attributes:
        positive_iou: from here on a box is assigned.
        negative_iou: below it is background; between the two it is ignored.
        min_positive_iou: a box's best anchors are assigned to it in any case, where their IoU is at least this.
        match_low_quality: whether they are.
        ignore_iof: what lies in a crowd with more than this share of its area is ignored; None: crowds do not matter.
    """

    positive_iou: float
    negative_iou: float
    min_positive_iou: float = 0.0
    match_low_quality: bool = True
    ignore_iof: float | None = None

    def match(
        self, priors: np.ndarray, boxes: np.ndarray, crowd: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Assigns each prior.

        Of equal overlaps the first box is taken. Every prior whose IoU equals a box's best one is assigned to that box,
        later boxes over earlier ones; with `min_positive_iou` 0 a box that overlaps nothing takes every prior of IoU 0.

        Args:
            priors: anchors or proposals, (n, 4).
            boxes: (m, 4).
            crowd: (k, 4), regions of many objects.

        Returns:
            (n,) int64: the number of the box, `BACKGROUND` or `IGNORED`; and (n,) the largest IoU of each prior.
        """
        num_priors, num_boxes = len(priors), len(boxes)
        if num_priors == 0 or num_boxes == 0:
            return np.full(num_priors, BACKGROUND, np.int64), np.zeros(num_priors, np.float32)
        overlaps = pairwise_iou(boxes, priors)  # boxes, priors
        if self.ignore_iof is not None and crowd is not None and len(crowd):
            overlaps[:, pairwise_iof(priors, crowd).max(axis=1) > self.ignore_iof] = -1
        largest, nearest = overlaps.max(axis=0), overlaps.argmax(axis=0)
        assigned = np.full(num_priors, IGNORED, np.int64)
        assigned[(largest >= 0) & (largest < self.negative_iou)] = BACKGROUND
        positive = largest >= self.positive_iou
        assigned[positive] = nearest[positive]
        if self.match_low_quality:
            best = overlaps.max(axis=1)
            for box in range(num_boxes):
                if best[box] >= self.min_positive_iou:
                    assigned[overlaps[box] == best[box]] = box
        return assigned, largest
