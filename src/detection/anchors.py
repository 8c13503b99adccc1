"""Anchors: boxes of some sizes and shapes at every position of every map.

Source: Ren et al., Faster R-CNN, 2015, section 3.1.1; numbers and order as in mmdetection's AnchorGenerator 3.3.0: the
centre is at (column * stride, row * stride), sizes are not rounded, ratio is height over width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_COARSEST = 32
"""Stride of the coarsest map behind the neck; coarser ones come from the pyramid."""


@dataclass(frozen=True)
class AnchorGrid:
    """What stands at each position.

    Attributes:
        strides: pixels between two positions, of each map, at least three.
        scales: sides of the square anchors, in strides.
        ratios: height over width.
    """

    strides: tuple[int, ...]
    scales: tuple[float, ...]
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)

    @staticmethod
    def of_octaves(
        strides: Sequence[int],
        octave_base_scale: float = 4,
        scales_per_octave: int = 3,
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
    ) -> "AnchorGrid":
        """RetinaNet's: scales that divide an octave."""
        scales = tuple(octave_base_scale * 2 ** (i / scales_per_octave) for i in range(scales_per_octave))
        return AnchorGrid(tuple(strides), scales, tuple(ratios))

    @property
    def num_per_position(self) -> int:
        return len(self.scales) * len(self.ratios)

    def base_anchors(self, level: int) -> np.ndarray:
        """Those of the position (0, 0) of a map: (ratios * scales, 4) float32, ratios outside."""
        stride = self.strides[level]
        roots = np.sqrt(np.array(self.ratios, np.float32))
        scales = np.array(self.scales, np.float32)
        widths = (stride * (1 / roots)[:, None] * scales[None]).reshape(-1)
        heights = (stride * roots[:, None] * scales[None]).reshape(-1)
        return np.stack([-widths / 2, -heights / 2, widths / 2, heights / 2], axis=1).astype(np.float32)

    def grids(self, canvas: tuple[int, int]) -> list[tuple[int, int]]:
        """(rows, columns) of each map on a canvas of (height, width) pixels, multiples of 32.

        The backbone's maps, each half of the one before it rounded up, have twice the size behind the neck; so for a
        side that is no multiple of 64 the map of stride 32 has a row or column more than fits on the canvas. Each
        further map is half of the one before it, rounded up.
        """
        sides = []
        for side in canvas:
            half, own = side // self.strides[0], []
            for stride in self.strides:
                half = -(-half // 2)
                own.append(2 * half if stride <= _COARSEST else -(-own[-1] // 2))
            sides.append(own)
        return list(zip(*sides, strict=True))

    def anchors(self, grids: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        """All of each map: (rows * columns * num_per_position, 4) float32, row by row."""
        found = []
        for level, (rows, columns) in enumerate(grids):
            x = np.arange(columns, dtype=np.float32) * self.strides[level]
            y = np.arange(rows, dtype=np.float32) * self.strides[level]
            shifts = np.stack([np.tile(x, rows), np.repeat(y, columns)] * 2, axis=1)
            found.append((shifts[:, None] + self.base_anchors(level)[None]).reshape(-1, 4))
        return found

    def valid(self, grids: Sequence[tuple[int, int]], pad_shape: tuple[int, int]) -> list[np.ndarray]:
        """Whether the position of each anchor lies in (height, width) pixels, which can be less than the canvas."""
        found = []
        for (rows, columns), stride in zip(grids, self.strides, strict=True):
            inside = np.zeros((rows, columns), bool)
            inside[: -(-pad_shape[0] // stride), : -(-pad_shape[1] // stride)] = True
            found.append(np.repeat(inside.reshape(-1), self.num_per_position))
        return found
