"""Mask R-CNN and its cascade as ONNX files: all that `TwoStagePredictions` does, from images to boxes and masks.

Proposals and boxes are chosen inside, so that one file does the whole work, for any batch size. `TopK` takes the lower
of equal places first, as the graph does, and `NonMaxSuppression` gets ranks, no two of which are equal. Features of
regions are not ONNX's `RoiAlign`, which averages over all cells of a region that is larger than the window.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ..detection.box_head import BoxHead
from ..detection.decode_boxes import DecodeBoxes
from ..detection.mask_head import MaskHead
from ..detection.nms import Detections, Suppress
from ..detection.roi_align import FINEST_SCALE, RoIAlign
from ..detection.rpn_head import Proposals, RPNHead
from ..detection.two_stage import TwoStagePredictions
from .detector_file import MASKS, OUTPUTS
from .onnx_cells import nodes_of, write_cell
from .onnx_detector import maps_of, rows_of_map
from .onnx_graph import INPUT_NAME, Graph, Value

_WHOLE_NUMBERS = ("labels", "counts")
_LARGEST = float(np.finfo(np.float32).max)


def build_two_stage_onnx(
    predictions: TwoStagePredictions, canvas: tuple[int, int], batch_size: int | None = None
) -> Any:
    """Writes a detector with two stages in evaluation mode as an ONNX model, checked by `onnx.checker`.

    Inputs are `images` float32 (B, 3, height, width), `shapes` and `scales` float32 (B, 2), outputs `boxes`, `scores`,
    `labels`, `counts` and `masks`, see `TwoStagePredictions`.

    Args:
        predictions: the network, and which boxes stay.
        canvas: (height, width) of the images: the network's, or that with its sides exchanged.
        batch_size: B; None leaves it open.

    Returns:
        An `onnx.ModelProto`.

    Raises:
        UserError: `onnx` is not installed.
    """
    graph = Graph(np.float32, {id(cell): path for path, cell in predictions.net.cells_and_names()})
    batch = batch_size or "batch"
    images = graph.input(INPUT_NAME, (batch, 3, *canvas), np.float32)
    shapes, scales = (graph.input(name, (batch, 2), np.float32) for name in ("shapes", "scales"))
    outputs = write_cell(predictions, images, shapes, scales)
    for name, value in zip((*OUTPUTS, MASKS), outputs, strict=True):
        graph.output(name, value, batch, np.int32 if name in _WHOLE_NUMBERS else np.float32)
    return graph.to_model(type(predictions.net).__name__, {"precision": "float32", "mindspore": ms.__version__})


@nodes_of.register
def _(cell: TwoStagePredictions, images: Value, shapes: Value, scales: Value) -> tuple[Value, ...]:
    net, is_landscape = cell.net, images.shape[2:] == tuple(cell.net.canvas)
    limits = shapes.take(1, np.array([1, 0, 1, 0]), "width_height_twice").reshape(-1, 1, 4)
    anchors = cell.anchors.landscape if is_landscape else cell.anchors.portrait
    maps = maps_of(net, images)
    logits, deltas = write_cell(net.rpn_head, *maps)
    regions, valid = propose(cell.propose, logits, deltas, [x.asnumpy() for x in anchors], limits)
    scores, regions, moved = _scores(cell, maps, regions, limits)
    boxes, best, labels, counts = choose_of_regions(cell, scores, regions, moved, valid, limits)
    masks = _masks(cell, maps, boxes, labels)
    finite = _are_finite([*maps, *logits, *deltas, scores, moved, masks]).reshape(-1)
    counts = finite.where(counts, -1)
    return boxes / scales.take(1, np.array([0, 1, 0, 1]), "x_y_twice").reshape(-1, 1, 4), best, labels, counts, masks


def _are_finite(values: Sequence[Value]) -> Value:
    """Whether all of each image's are, of (B, ...): (B, 1) bool."""
    found = [_is_finite(x).to(np.float32).smallest(*range(1, len(x.shape))).reshape(-1, 1) for x in values]
    return found[0].concat(*found[1:]).smallest(1) > 0.5


def _is_finite(x: Value) -> Value:
    return x.node("Abs") <= _LARGEST  # NaN is not


# The first stage


@nodes_of.register
def _(cell: RPNHead, *maps: Value) -> tuple[list[Value], list[Value]]:
    logits, deltas = [], []
    for x in maps:
        x = write_cell(cell.relu, write_cell(cell.rpn_conv, x))
        deltas.append(rows_of_map(write_cell(cell.rpn_reg, x), 4))
        logits.append(rows_of_map(write_cell(cell.rpn_cls, x), 1).reshape(-1, deltas[-1].shape[1]))
    return logits, deltas


def propose(
    cell: Proposals, logits: Sequence[Value], deltas: Sequence[Value], anchors: Sequence[np.ndarray], limits: Value
) -> tuple[Value, Value]:
    """What `Proposals` gives but for the scores, which nothing needs: boxes (B, N, 4), and whether there is one (B, N).

    `limits` (B, 1, 4) are width, height, width, height of each image.
    """
    boxes, scores, valid = [], [], []
    for level, own in enumerate(anchors):
        found = logits[level].node("Sigmoid")
        found, rows = (found >= 0.0).where(found, -1.0).top(min(cell.top.k, len(own)))  # NaN has no order
        priors = found.graph.constant(own, f"anchors_{level}").at(rows)
        decoded = write_cell(cell.decode, priors, deltas[level].rows(rows), limits)
        decoded = _is_finite(decoded).where(decoded, 0.0)
        boxes.append(decoded)
        scores.append(found)
        valid.append(_stays(cell.suppress, decoded, None, _has_area(decoded)))
    boxes, scores, valid = (parts[0].concat(*parts[1:], axis=1) for parts in (boxes, scores, valid))
    count = min(cell.num_after, scores.shape[1])
    scores, rows = valid.where(scores, -1.0).top(count)
    missing = cell.num_after - count
    return boxes.rows(rows).pad(1, after=missing), (scores + 1.0).pad(1, after=missing) >= 1.0


def _has_area(boxes: Value) -> Value:
    """Boxes (B, n, 4) -> (B, n) bool."""
    x0, y0, x1, y1 = boxes.split(4)
    return ((x1 > x0) & (y1 > y0)).reshape(-1, boxes.shape[1])


@nodes_of.register
def _(cell: DecodeBoxes, priors: Value, deltas: Value, limits: Value) -> Value:
    """(B, n, 4), (B, n, 4), and width, height, width, height of each image (B, 1, 4) -> (B, n, 4)."""
    shifts, logarithms = (deltas * cell.stds.asnumpy()).split(2)
    low, high = priors.split(2)
    sizes, centres = high - low, (low + high) * 0.5
    centres = centres + shifts * sizes
    halves = sizes * 0.5 * logarithms.maximum(-cell.limit).minimum(cell.limit).node("Exp")
    return (centres - halves).concat(centres + halves).maximum(0.0).minimum(limits)


# Which boxes stay


def _stays(cell: Suppress, boxes: Value, labels: Value | None, valid: Value) -> Value:
    """Boxes (B, n, 4) by falling score, labels (B, n) int64 or all the same, valid (B, n) -> those that stay."""
    n = boxes.shape[1]
    span = boxes.largest(1, 2).maximum(boxes.smallest(1, 2) * -1.0) * 2.0 + 1.0  # B 1 1
    if labels is not None:
        boxes = boxes + valid.where(labels, -1).to(np.float32).reshape(-1, n, 1) * span
    boxes = valid.reshape(-1, n, 1).where(boxes, span * -1.0)  # without area
    zeros = valid.to(np.int64) * 0
    ranks = (zeros + _falling(boxes.graph, n)).to(np.float32).reshape(-1, 1, n)
    numbers = map(boxes.graph.constant, (np.array([n]), np.array([cell.nms.iou_threshold], np.float32)))
    kept = boxes.node("NonMaxSuppression", ranks, *numbers, shape=(-1, 3), dtype=np.int64)  # image, class 0, place
    ones = kept.take(1, np.array([1]), "class_of_kept").reshape(-1) + 1
    stays = zeros.node("ScatterND", kept.take(1, np.array([0, 2]), "place_of_kept"), ones)
    return (stays > 0) & valid


def _falling(graph: Graph, n: int) -> Value:
    """n to 1, int64."""
    return graph.constant(np.arange(n, 0, -1), f"{n}_to_1")


def choose(cell: Detections, boxes: Value, scores: Value, labels: Value, valid: Value) -> tuple[Value, ...]:
    """Candidates of images (B, n, ...) -> boxes (B, m, 4), scores, labels (B, m) int64, counts (B,) int64."""
    n = scores.shape[1]
    _, order = valid.where(scores, -1.0).top(n)
    boxes, scores, labels, valid = (x.rows(order) for x in (boxes, scores, labels, valid))
    m = min(cell.max_per_image, n)
    best, _ = _stays(cell.suppress, boxes, labels, valid).where(_falling(boxes.graph, n), 0).top(m)
    counts = best > 0
    kept = counts.where(best * -1 + n, 0)
    missing = cell.max_per_image - m
    return (
        counts.reshape(-1, m, 1).where(boxes.rows(kept), 0.0).pad(1, after=missing),
        counts.where(scores.rows(kept), 0.0).pad(1, after=missing),
        counts.where(labels.rows(kept) + 1, 0).pad(1, after=missing) - 1,
        counts.to(np.int64).sum(1).reshape(-1),
    )


def choose_of_regions(
    cell: TwoStagePredictions, scores: Value, regions: Value, moved: Value, valid: Value, limits: Value
) -> tuple[Value, ...]:
    """Scores (B, N, K), regions (B, N, 4), deltas (B, N, n, 4), which there are (B, N) -> as `choose`."""
    number, classes, own = *scores.shape[1:], moved.shape[2]
    scores = valid.reshape(-1, number, 1).where(scores, 0.0).reshape(-1, number * classes)
    scores = (scores > cell.score_threshold).where(scores, 0.0)
    best, rows = scores.top(min(cell.candidates, number * classes))
    places = rows / classes
    deltas = moved.reshape(-1, number * own, 4).rows(rows if own > 1 else places)
    boxes = write_cell(cell.net.roi_head.decoders[cell.num_stages - 1], regions.rows(places), deltas, limits)
    return choose(cell.choose, boxes, best, rows - places * classes, best > cell.score_threshold)


# The second stage


def _stage_of(heads: Any, stage: int, is_cascade: bool) -> Any:
    return heads[stage] if is_cascade else heads


def _scores(cell: TwoStagePredictions, maps: list[Value], regions: Value, limits: Value) -> tuple[Value, Value, Value]:
    """Regions (B, N, 4) -> scores (B, N, K), the regions that the last stage looks at, its deltas (B, N, n, 4)."""
    head, number, moved, logits = cell.net.roi_head, regions.shape[1], None, []
    for stage in range(cell.num_stages):
        if stage > 0:
            regions = write_cell(head.decoders[stage - 1], regions, moved.reshape(-1, number, 4), limits)
        features = write_cell(head.box_features, regions, *maps)
        own, moved = write_cell(_stage_of(head.bbox_head, stage, head.is_cascade), features)
        logits.append(own)
    scores = (sum(logits[1:], start=logits[0]) / cell.num_stages).node("Softmax", axis=-1)
    scores = scores.take(1, np.arange(cell.num_classes), "classes")
    return scores.reshape(-1, number, cell.num_classes), regions, moved.reshape(-1, number, *moved.shape[1:])


def _masks(cell: TwoStagePredictions, maps: list[Value], boxes: Value, labels: Value) -> Value:
    """Boxes (B, m, 4) and their labels (B, m) -> probabilities (B, m, 28, 28)."""
    head, number = cell.net.roi_head, boxes.shape[1]
    features = write_cell(head.mask_features, boxes, *maps)
    labels = labels.maximum(0).reshape(-1, 1)
    masks = []
    for stage in range(cell.num_stages):
        x = write_cell(_stage_of(head.mask_head, stage, head.is_cascade), features)  # R K 28 28
        side = x.shape[2:]
        masks.append(x.reshape(-1, x.shape[1], prod(side)).rows(labels).node("Sigmoid"))
    mean = sum(masks[1:], start=masks[0]) / cell.num_stages
    return mean.reshape(-1, number, *side)


@nodes_of.register
def _(cell: BoxHead, x: Value) -> tuple[Value, Value]:
    x = x.reshape(-1, prod(x.shape[1:]))
    for layer in cell.shared_fcs:
        x = write_cell(cell.relu, write_cell(layer, x))
    return write_cell(cell.fc_cls, x), write_cell(cell.fc_reg, x).reshape(-1, cell.num_boxes, 4)


@nodes_of.register
def _(cell: MaskHead, x: Value) -> Value:
    for conv in cell.convs:
        x = write_cell(cell.relu, write_cell(conv, x))
    return write_cell(cell.conv_logits, write_cell(cell.relu, write_cell(cell.upsample, x)))


@nodes_of.register
def _(cell: RoIAlign, boxes: Value, *maps: Value) -> Value:
    """Boxes (B, N, 4) in the images whose maps these are -> (B * N, C, size, size)."""
    graph, number, window, size = boxes.graph, boxes.shape[1], cell.window, cell.size
    maps, channels = maps[: cell.num_maps], maps[0].shape[1]
    tables = [x.transpose(0, 2, 3, 1).reshape(-1, prod(x.shape[2:]), channels) for x in maps]
    sides = np.array([x.shape[2:] for x in maps])
    first = np.cumsum([0, *sides.prod(axis=1)[:-1]])
    boxes = _is_finite(boxes).where(boxes, 0.0)
    level = _level(cell, boxes)
    height, width, first = (
        graph.constant(values, f"{name}_of_maps").at(level)
        for name, values in (("rows", sides[:, 0]), ("columns", sides[:, 1]), ("first_cells", first))
    )
    boxes = boxes / graph.constant(cell.strides.asnumpy(), "strides_of_maps").at(level) - 0.5
    x0, y0, x1, y1 = boxes.split(4)  # B N 1
    rows, row_weights = _axis(cell, y0, y1, height)
    columns, column_weights = _axis(cell, x0, x1, width)
    places = (rows * width + first).reshape(-1, number, window, 1) + columns.reshape(-1, number, 1, window)
    cells = tables[0].concat(*tables[1:], axis=1).rows(places.reshape(-1, number * window * window))
    of_rows = row_weights.reshape(-1, size, window) @ cells.reshape(-1, window, window * channels)
    of_rows = of_rows.reshape(-1, size, window, channels)
    bins = column_weights.reshape(-1, 1, size, window).node("MatMul", of_rows, shape=(-1, size, size, channels))
    return bins.transpose(0, 3, 1, 2)


def _level(cell: RoIAlign, boxes: Value) -> Value:
    """The map of each box, (B, N, 1) int64."""
    x0, y0, x1, y1 = boxes.split(4)
    scale = ((x1 - x0) * (y1 - y0)).maximum(0.0).node("Sqrt") / FINEST_SCALE + 1e-6
    steps = 2.0 ** np.arange(1, cell.num_maps)
    if not len(steps):
        return (scale * 0.0).to(np.int64)
    return (scale >= steps).to(np.int64).sum(2)


def _axis(cell: RoIAlign, start: Value, end: Value, length: Value) -> tuple[Value, Value]:
    """`RoIAlign.axis`: where boxes start and end (B, N, 1) and the map's length (B, N, 1) -> the cells that are looked
    at (B, N, window) int64, and their weights in each bin (B, N, size, window)."""
    number, size, window = start.shape[1], cell.size, cell.window
    last = length.to(np.float32) - 1.0

    def clamp(x: Value, limit: Value) -> Value:
        return x.maximum(0.0).minimum(limit)

    def over(x: Value, *shape: int) -> Value:
        return x.reshape(-1, number, *shape)

    def constant(x: Tensor, name: str) -> Value:
        return start.graph.constant(x.asnumpy()[0], f"{name}_{size}_of_{window}")

    extent = end - start
    bin_size = extent / size
    count = bin_size * 0.0 + cell.ratio if cell.ratio else bin_size.node("Ceil")
    divisor = count.maximum(1.0)
    cells = clamp(start.node("Floor"), last) + constant(cell.steps, "steps")
    samples = np.arange(cell.max_samples)
    starts = over(bin_size * constant(cell.bins, "bins") + start, size, 1)
    at = starts + over(bin_size * (samples + 0.5) / divisor, 1, len(samples))  # B N size samples
    inside = (at >= -1.0) & (at <= over(last + 1.0, 1, 1))
    share = (inside & over(count > samples, 1, len(samples))).to(np.float32) / over(divisor, 1, 1)
    distance = over(clamp(at, over(last, 1, 1)), size, len(samples), 1) - over(cells, 1, 1, window)
    weights = (distance.node("Abs") * -1.0 + 1.0).maximum(0.0) * over(share, size, len(samples), 1)
    weights = over(weights.sum(3), size, window)
    fits = extent <= window - 2.0
    spread = clamp(extent * constant(cell.spread_places, "spread_places") + start + 0.5, last).node("Floor")
    weights = over(fits, 1, 1).where(weights, constant(cell.spread_weights, "spread_weights"))
    return fits.where(cells.minimum(last), spread).to(np.int64), weights
