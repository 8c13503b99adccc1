"""Boxes as differences from anchors or proposals: shifts in their sizes, and logarithms of ratios of sides.

Source: Girshick, R-CNN, 2014, appendix C; as mmdetection's DeltaXYWHBBoxCoder 3.3.0: no +1, and the ratio of sides is
clipped.
"""

from dataclasses import dataclass

import numpy as np

RATIO_CLIP = 16 / 1000
"""A decoded side is between this share of the anchor's and its inverse."""


@dataclass(frozen=True)
class BoxCoder:
    """Encodes boxes on the host; see `DecodeBoxes` for the way back.

    Attributes:
        stds: deltas are divided by them.
    """

    stds: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)

    def encode(self, priors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """(n, 4), (n, 4) -> (n, 4) float32. A prior without area gives values that are not finite."""
        sizes, targets = priors[:, 2:] - priors[:, :2], boxes[:, 2:] - boxes[:, :2]
        with np.errstate(divide="ignore", invalid="ignore"):
            shifts = ((boxes[:, 2:] + boxes[:, :2]) - (priors[:, 2:] + priors[:, :2])) * 0.5 / sizes
            logs = np.log(targets / sizes)
        return (np.concatenate([shifts, logs], axis=1) / np.array(self.stds, np.float32)).astype(np.float32)
