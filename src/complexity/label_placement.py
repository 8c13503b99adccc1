"""Labels beside the points of a picture, where they cover neither each other nor what is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

DISTANCES = (5.0, 8.0, 12.0, 17.0, 23.0, 30.0)
"""Of a label's nearest edge from its point, in points of 1/72 inch."""
JOINED_FROM = 12.0
"""Labels as far as this are joined to their point by a thin line."""
MARKER = 4.0
"""Kept free around a point at each side."""
_DIRECTIONS = [  # around a square, the better places first
    *((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1)),
    *((x, y) for x in (0.5, -0.5) for y in (1, -1)),
    *((x, y) for x in (1, -1) for y in (0.5, -0.5)),
]


@dataclass(frozen=True)
class Label:
    """A text for the point (x, y), in data coordinates; `style` are arguments of matplotlib's texts."""

    text: str
    x: float
    y: float
    style: dict[str, Any] = field(default_factory=dict)


def place_labels(axes: Any, labels: Sequence[Label], taken: Sequence[Any] = ()) -> list[Any]:
    """Adds the labels, the first ones choosing first, and returns the texts.

    Args:
        axes: matplotlib axes whose lines and markers are drawn, and whose limits and size will not change any more.
        labels: what to add.
        taken: further artists to keep free, such as a legend.
    """
    renderer = axes.figure.canvas.get_renderer()
    pixel = axes.figure.dpi / 72
    frame = np.array(axes.get_window_extent(renderer).extents)
    occupied = _occupied(axes, pixel)
    occupied += [np.array(artist.get_tightbbox(renderer).extents)[None] for artist in taken]
    texts = []
    for label in labels:
        place = {"xytext": (0, 0), "textcoords": "offset points", "ha": "center", "va": "center"}
        text = axes.annotate(label.text, (label.x, label.y), **place, **label.style)
        extent = text.get_window_extent(renderer)
        size, point = np.array([extent.width, extent.height]), axes.transData.transform((label.x, label.y))
        offset, distance, box = _best_place(point, size, np.concatenate(occupied), frame, pixel)
        text.set_position(offset / pixel)
        if distance >= JOINED_FROM:
            ends = np.array([point, point + _nearest_edge(offset, size)])
            occupied.append(_along(ends, pixel))
            ends = axes.transData.inverted().transform(ends)
            axes.plot(*ends.T, color=label.style.get("color"), linewidth=0.5, zorder=1)
        occupied.append((box + np.array([-2, 0, 2, 0]) * pixel)[None])
        texts.append(text)
    return texts


def _occupied(axes: Any, pixel: float) -> list[np.ndarray]:
    """Boxes (x0, y0, x1, y1) in pixels around the markers and along the lines of `axes`."""
    boxes = [np.empty((0, 4))]
    for line in axes.lines:
        points = axes.transData.transform(np.column_stack(line.get_data()))
        if line.get_marker() != "None":
            boxes.append(_around(points, MARKER * pixel))
        if line.get_linestyle() != "None":
            boxes.append(_along(points, pixel))
    return boxes


def _best_place(
    point: np.ndarray, size: np.ndarray, occupied: np.ndarray, frame: np.ndarray, pixel: float
) -> tuple[np.ndarray, float, np.ndarray]:
    """Offset of the label's centre in pixels, its distance in points, and its box: the least covered, then nearest."""
    places = []
    for distance in DISTANCES:
        for number, direction in enumerate(_DIRECTIONS):
            offset = np.array(direction) * (size / 2 + distance * pixel)
            box = np.concatenate([point + offset - size / 2, point + offset + size / 2])
            outside = np.maximum(frame[:2] - box[:2], 0).sum() + np.maximum(box[2:] - frame[2:], 0).sum()
            covered = _overlap(box, occupied) + 1e6 * outside
            if distance >= JOINED_FROM:
                edge = _nearest_edge(offset, size)
                far_half = np.array([point + edge / 2, point + edge])
                covered += sum(_overlap(part, occupied) for part in _along(far_half, 1))
            places.append((covered, distance, number, offset, box))
    _, distance, _, offset, box = min(places, key=lambda place: place[:3])
    return offset, distance, box


def _nearest_edge(offset: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The way from a point to the nearest one of the label whose centre is `offset` away."""
    return offset - np.clip(offset, -size / 2, size / 2)


def _along(points: np.ndarray, pixel: float) -> np.ndarray:
    """Boxes along a polyline, one every three points of 1/72 inch."""
    boxes = [np.empty((0, 4))]
    for start, end in pairwise(points):
        steps = int(np.hypot(*(end - start)) / (3 * pixel)) + 2
        boxes.append(_around(start + (end - start) * np.linspace(0, 1, steps)[:, None], pixel))
    return np.concatenate(boxes)


def _around(points: np.ndarray, half: float) -> np.ndarray:
    return np.concatenate([points - half, points + half], axis=1)


def _overlap(box: np.ndarray, others: np.ndarray) -> float:
    """Area in pixels that `box` shares with all others, (x0, y0, x1, y1) each."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return float(np.prod(np.maximum(sides, 0), axis=1).sum())
