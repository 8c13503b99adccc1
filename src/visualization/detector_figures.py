"""Pictures of a detector: where its maps see something, and which anchors are to find the annotated boxes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mindspore import Tensor

from ..config import Config
from ..data.box_transforms import DetectionTransform
from ..data.coco import Coco
from ..detection.kinds import create_targets, scores_of_anchors, what_anchors_say
from ..devices.device import set_up_device
from ..errors import UserError, printable
from ..tasks.detection import Detection
from ..weights.checkpoint import Checkpoint
from .picture_folder import PictureFolder

MOST_IMAGES = 16
MOST_ANCHORS = 60
"""Drawn for an image, the best overlapping ones of each box first."""


def draw_detector(
    checkpoint: Checkpoint, config: Config, given: Mapping[str, Any], names: list[str], folder: PictureFolder
) -> list[str]:
    """Draws score maps and assigned anchors of images of the configuration's validation split.

    Args:
        checkpoint: of a detector.
        config: names the data.
        given: what the command line says itself, `CommandLine.given`.
        names: of files in the split, without their folder; the first five when empty.
        folder: where to.

    Returns:
        What was done, as lines for the user.

    Raises:
        UserError: no such image, or what `Detection.open_for_evaluation` refuses.
    """
    task = Detection(config)
    lines = task.open_for_evaluation(checkpoint, given)
    data = task.validation_set
    places = _choose(data, names)
    lines += set_up_device(config.device, config.seed, uses_convolution=True)
    net, _ = task.load_network(checkpoint)
    card, canvas = task.card, task.card.canvas
    transform = DetectionTransform(
        canvas=canvas,
        short_sides=[card.short_side],
        long_side=card.long_side,
        flip_prob=0.0,
        mean=card.mean,
        std=card.std,
    )
    what, strides = what_anchors_say(card.model), net.anchor_grid.strides
    for place in places:
        image, objects = data.image(place), data.objects(place)
        counts = ~objects.is_crowd
        placed = transform(image, objects.boxes[counts])
        own_canvas = transform.canvas_of((image.height, image.width))
        logits = scores_of_anchors(card.model, net(Tensor(placed.values[None])))
        grids = net.anchor_grid.grids(own_canvas)
        maps = {
            f"P{stride.bit_length() - 1}": _best(x.asnumpy()[0], grid)
            for stride, x, grid in zip(strides, logits, grids, strict=True)
        }
        pixels = np.asarray(image.resize(placed.size[::-1]))
        name = f"{place + 1}_{printable(Path(data.describe(place)).stem)}"
        folder.draw(f"{name}/scores.png", draw_scores(maps, pixels, own_canvas, f"{card.model}, {name}: {what}"))
        targets = create_targets(card.model, card.arguments, len(card.classes), len(placed.boxes))
        anchors, rows, assigned = targets.match(placed.boxes, placed.size, own_canvas)
        chosen = anchors[rows[assigned >= 0]]
        title = f"{card.model}, {name}: {len(chosen)} anchors, annotated boxes: {len(placed.boxes)}"
        folder.draw(f"{name}/anchors.png", draw_anchors(chosen, placed.boxes, pixels, title))
    return lines


def draw_scores(maps: Mapping[str, np.ndarray], pixels: np.ndarray, canvas: tuple[int, int], title: str) -> Figure:
    """The largest probability of any anchor at each position, for each map, over the image.

    Args:
        maps: (rows, columns) of 0 .. 1 by name, the finest first.
        pixels: (h, w, 3) uint8, the image as it lies on the canvas.
        canvas: (height, width) that the maps are of.
        title: of the picture.
    """
    figure = Figure(figsize=(3 * (len(maps) + 1), 3.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    all_axes = figure.subplots(1, len(maps) + 1)
    all_axes[0].imshow(pixels)
    all_axes[0].set_title("image", fontsize=9)
    height, width = pixels.shape[:2]
    for axes, (name, values) in zip(all_axes[1:], maps.items(), strict=True):
        axes.imshow(pixels, cmap="gray")
        drawn = axes.imshow(
            values,
            cmap=colormaps["magma"],
            vmin=0,
            vmax=1,
            alpha=0.75,
            extent=(0, canvas[1], canvas[0], 0),
            interpolation="nearest",
        )
        axes.set_title(f"{name}, {values.shape[0]} x {values.shape[1]}, largest {values.max():.2f}", fontsize=9)
    for axes in all_axes:
        axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    figure.colorbar(drawn, ax=all_axes[-1], label="probability")
    return figure


def draw_anchors(anchors: np.ndarray, boxes: np.ndarray, pixels: np.ndarray, title: str) -> Figure:
    """Annotated boxes, and the anchors that are to find them.

    Args:
        anchors: (n, 4); at most `MOST_ANCHORS`, evenly chosen, are drawn.
        boxes: (m, 4).
        pixels: (h, w, 3) uint8.
        title: of the picture.
    """
    height, width = pixels.shape[:2]
    figure = Figure(figsize=(6, 6 * height / width + 0.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(pixels)
    chosen = anchors[np.linspace(0, len(anchors) - 1, min(len(anchors), MOST_ANCHORS)).round().astype(int)]
    for kind, color, thickness, of in (("anchor", "#56B4E9", 0.7, chosen), ("annotated", "#D55E00", 2.0, boxes)):
        for number, (x0, y0, x1, y1) in enumerate(of.tolist()):
            frame = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=color, linewidth=thickness)
            frame.set_label(kind if number == 0 else None)
            axes.add_patch(frame)
    axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    axes.set_title(title, fontsize=9)
    if len(chosen) or len(boxes):
        axes.legend(loc="upper right", fontsize=8)
    return figure


def _best(logits: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Logits (rows * columns * anchors, K) -> (rows, columns) probabilities."""
    return 1 / (1 + np.exp(-logits.reshape(*grid, -1).max(axis=2).astype(np.float64)))


def _choose(data: Coco, names: list[str]) -> list[int]:
    places = {Path(data.describe(place)).name: place for place in range(len(data))}
    if not names:
        return list(range(min(5, len(data))))
    if len(names) > MOST_IMAGES:
        raise UserError(f"expected at most {MOST_IMAGES} images, got {len(names):,}: name those to look at")
    for name in names:
        if Path(name).name not in places:
            raise UserError(f"{name} is not among the {len(data):,} images of the configuration's validation split")
    return [places[Path(name).name] for name in names]
