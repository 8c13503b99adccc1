"""What the losses of a two-stage detector need of an image: anchors that its first stage is trained on, made on the
host, and the annotated objects, because the regions of its second stage are known in the graph alone.

Source: Ren et al., Faster R-CNN, 2015, section 3.1.3; rules of mmdetection's RandomSampler and RPNHead 3.3.0.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .anchor_targets import match_anchors
from .anchors import AnchorGrid
from .box_coding import BoxCoder
from .matcher import BACKGROUND, Matcher

KEYS = (-(2**31), 2**31)


@dataclass(frozen=True)
class RegionTargets:
    """For the loaders' workers, see `Encode` there.

    Attributes:
        needs_masks: whether masks are used.
        grid: the anchors.
        matcher: assigns them.
        max_objects: G, of an image.
        num_samples: anchors of an image that are trained on; all of a canvas that has fewer.
        positive_share: of them, that may be assigned to objects.
        allowed_border: see `match_anchors`.
        padding: images are taken to be padded to a multiple of so many pixels; anchors beyond take no part.
    """

    needs_masks: ClassVar[bool] = True

    grid: AnchorGrid
    matcher: Matcher
    max_objects: int
    num_samples: int = 256
    positive_share: float = 0.5
    allowed_border: int = -1
    padding: int = 32

    def fields(self, canvas: tuple[int, int]) -> dict[str, tuple[tuple[int, ...], type]]:
        """Shape and type of what `__call__` gives for an image."""
        anchors = sum(rows * columns for rows, columns in self.grid.grids(canvas)) * self.grid.num_per_position
        count, objects = min(self.num_samples, anchors), self.max_objects
        return {
            "rows": ((count,), np.int32),
            "is_object": ((count,), np.float32),
            "weights": ((count,), np.float32),
            "deltas": ((count, 4), np.float32),
            "boxes": ((objects, 4), np.float32),
            "labels": ((objects,), np.int32),
            "masks": ((objects, *canvas), np.uint8),
            "img_shape": ((2,), np.float32),
            "key": ((), np.int32),
        }

    def match(
        self, boxes: np.ndarray, img_shape: tuple[int, int], canvas: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `match_anchors`."""
        return match_anchors(self.grid, self.matcher, boxes, img_shape, canvas, self.padding, self.allowed_border)

    def __call__(
        self,
        boxes: np.ndarray,
        labels: np.ndarray,
        img_shape: tuple[int, int],
        canvas: tuple[int, int],
        masks: np.ndarray | None,
        rng: np.random.Generator | None = None,
    ) -> dict[str, np.ndarray]:
        """Targets of one image with n objects.

        Args:
            boxes, labels, img_shape, canvas: see `AnchorTargets`.
            masks: (n, *img_shape) uint8, 1 where the object is.
            rng: draws the key and the anchors; without one the key is 0 and the first anchors are taken.

        Returns:
            Of M sampled anchors, those with objects first: rows (M,) int32 over all maps; is_object (M,) float32, 1
            for an object and 0 for background; weights (M,) float32, 0 where there were not enough anchors and the row
            is 0; deltas (M, 4) float32, 0 but for objects. Of G objects, filled up: boxes (G, 4) float32 with 0, labels
            (G,) int32 with -1, masks (G, *canvas) uint8 with 0. Of the image: img_shape (2,) float32; key () int32,
            which decides what is drawn in the graph.

        Raises:
            ValueError: more objects than `max_objects`, or other masks than the boxes' ones.
        """
        number = len(boxes)
        if number > self.max_objects:
            raise ValueError(f"an image has {number} objects, more than max_objects, {self.max_objects}")
        if np.shape(masks) != (number, *img_shape):
            raise ValueError(f"masks must be {(number, *img_shape)}, got {None if masks is None else masks.shape}")
        found = {name: np.zeros(shape, kind) for name, (shape, kind) in self.fields(canvas).items()}
        found["boxes"][:number] = boxes
        found["labels"][:number], found["labels"][number:] = labels, -1
        found["masks"][:number, : img_shape[0], : img_shape[1]] = masks
        found["img_shape"][:] = img_shape
        if rng is not None:
            found["key"][...] = rng.integers(*KEYS, dtype=np.int32)

        anchors, valid, assigned = self.match(boxes, img_shape, canvas)
        count = len(found["rows"])
        positive = _draw(np.flatnonzero(assigned >= 0), min(count, int(self.num_samples * self.positive_share)), rng)
        negative = _draw(np.flatnonzero(assigned == BACKGROUND), count - len(positive), rng)
        drawn = np.concatenate([positive, negative])
        found["rows"][: len(drawn)] = valid[drawn]
        found["is_object"][: len(positive)] = 1
        found["weights"][: len(drawn)] = 1
        found["deltas"][: len(positive)] = BoxCoder().encode(anchors[valid[positive]], boxes[assigned[positive]])
        return found


def _draw(rows: np.ndarray, count: int, rng: np.random.Generator | None) -> np.ndarray:
    """As many of the rows at most, in rising order."""
    if len(rows) <= count:
        return rows
    return rows[:count] if rng is None else np.sort(rng.choice(rows, count, replace=False))
