"""What each anchor is to say about an image: made on the host, because it follows from boxes and canvas alone."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .anchors import AnchorGrid
from .box_coding import BoxCoder
from .matcher import BACKGROUND, Matcher


def match_anchors(
    grid: AnchorGrid,
    matcher: Matcher,
    boxes: np.ndarray,
    img_shape: tuple[int, int],
    canvas: tuple[int, int],
    padding: int,
    allowed_border: int = -1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Assigns the anchors that take part to boxes.

    Args:
        grid, matcher: the anchors, and how they are assigned.
        boxes: (n, 4) in pixels of the canvas.
        img_shape: (height, width) that the image fills.
        canvas: (height, width).
        padding: the image is taken to be padded to a multiple of so many pixels; anchors beyond take no part.
        allowed_border: nor do those that leave the image by so many pixels or more at the right or at the bottom, or
            by more at the left or at the top; -1: all that are left do.

    Returns:
        anchors (A, 4) float32 of all maps; the rows that take part (k,) int64; what each is assigned (k,) int64.
    """
    grids = grid.grids(canvas)
    pad_shape = tuple(-(-side // padding) * padding for side in img_shape)
    anchors = np.concatenate(grid.anchors(grids))
    takes_part = np.concatenate(grid.valid(grids, pad_shape))
    if allowed_border >= 0:
        height, width = img_shape
        x0, y0, x1, y1 = anchors.T
        takes_part &= (x0 >= -allowed_border) & (y0 >= -allowed_border)
        takes_part &= (x1 < width + allowed_border) & (y1 < height + allowed_border)
    rows = np.flatnonzero(takes_part)
    assigned, _ = matcher.match(anchors[rows], boxes.astype(np.float32))
    return anchors, rows, assigned


@dataclass(frozen=True)
class AnchorTargets:
    """For the loaders' workers, see `encode` there.

    Attributes:
        needs_masks: whether masks are used.
        grid: the anchors.
        matcher: assigns them.
        num_classes: K; the label of background.
        coder: of the deltas.
        padding: images are taken to be padded to a multiple of so many pixels; anchors beyond take no part.
    """

    needs_masks: ClassVar[bool] = False

    grid: AnchorGrid
    matcher: Matcher
    num_classes: int
    coder: BoxCoder = BoxCoder()
    padding: int = 32

    def fields(self, canvas: tuple[int, int]) -> dict[str, tuple[tuple[int, ...], type]]:
        """Shape and type of what `__call__` gives for an image."""
        count = sum(rows * columns for rows, columns in self.grid.grids(canvas)) * self.grid.num_per_position
        return {"labels": ((count,), np.int32), "deltas": ((count, 4), np.float32)}

    def match(
        self, boxes: np.ndarray, img_shape: tuple[int, int], canvas: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `match_anchors`."""
        return match_anchors(self.grid, self.matcher, boxes, img_shape, canvas, self.padding)

    def __call__(
        self,
        boxes: np.ndarray,
        labels: np.ndarray,
        img_shape: tuple[int, int],
        canvas: tuple[int, int],
        masks: np.ndarray | None = None,
        rng: np.random.Generator | None = None,
    ) -> dict[str, np.ndarray]:
        """Targets of one image.

        Args:
            boxes: (n, 4) in pixels of the canvas.
            labels: (n,).
            img_shape: (height, width) that the image fills.
            canvas: (height, width).
            masks, rng: not used.

        Returns:
            labels (A,) int32: the class, K for background, -1 where the anchor takes no part; deltas (A, 4) float32, 0
            but where there is a class.
        """
        anchors, valid, assigned = self.match(boxes, img_shape, canvas)
        found = np.full(len(anchors), -1, np.int32)
        found[valid[assigned == BACKGROUND]] = self.num_classes
        positive = assigned >= 0
        found[valid[positive]] = labels[assigned[positive]]
        deltas = np.zeros((len(anchors), 4), np.float32)
        deltas[valid[positive]] = self.coder.encode(anchors[valid[positive]], boxes[assigned[positive]])
        return {"labels": found, "deltas": deltas}
