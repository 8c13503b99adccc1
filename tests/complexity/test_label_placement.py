"""Labels cover neither each other nor the points, and stay in the frame."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from src.complexity.label_placement import Label, place_labels


def axes():
    figure = Figure(figsize=(5, 4), dpi=100)
    FigureCanvasAgg(figure)
    return figure.subplots()


def boxes(axes, texts):
    renderer = axes.figure.canvas.get_renderer()
    return [text.get_window_extent(renderer) for text in texts]


@pytest.mark.parametrize("seed", range(5))
def test_crowded_points(seed):
    points = np.random.default_rng(seed).uniform(0, 1, (12, 2))
    place = axes()
    place.plot(*points.T, "o")
    texts = place_labels(place, [Label(f"label {i}", x, y) for i, (x, y) in enumerate(points)])
    found = boxes(place, texts)
    pixels = place.transData.transform(points)
    for i, box in enumerate(found):
        assert place.get_window_extent().contains(box.x0, box.y0)
        assert place.get_window_extent().contains(box.x1, box.y1)
        assert not any(box.contains(*pixel) for pixel in pixels)
        assert not any(box.overlaps(other) for other in found[i + 1 :])


def test_lines_and_artists_are_kept_free():
    place = axes()
    place.set(xlim=(0, 1), ylim=(0, 1))
    taken = place.text(0.51, 0.55, "a note above the point")
    place.plot([0.5, 1], [0.5, 0.5])
    (text,) = place_labels(place, [Label("label", 0.5, 0.5)], taken=[taken])
    (box,) = boxes(place, [text])
    renderer = place.figure.canvas.get_renderer()
    assert not box.overlaps(taken.get_window_extent(renderer))
    x, y = place.transData.transform((0.5, 0.5))
    assert box.x1 < x or not box.y0 <= y <= box.y1


def test_a_far_label_is_joined_to_its_point():
    place = axes()
    labels = [Label("a rather long label", 0.5, 0.5 + i / 1000, {"color": "k"}) for i in range(20)]
    place.set(xlim=(0, 1), ylim=(0, 1))
    place_labels(place, labels)
    assert place.lines and all(line.get_color() == "k" for line in place.lines)
