"""Parts of detectors, against reference cases."""

from collections.abc import Iterator
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from src.detection.anchors import AnchorGrid
from src.detection.box_coding import BoxCoder
from src.detection.boxes import pairwise_iou
from src.detection.decode_boxes import DecodeBoxes
from src.detection.fpn import FPN
from src.detection.losses import FocalLoss, SigmoidCrossEntropy, SmoothL1, SoftmaxCrossEntropy
from src.detection.matcher import BACKGROUND, IGNORED, Matcher
from src.detection.nms import Detections, Suppress, TopRows
from src.detection.retinanet import RetinaNetPredictions
from src.detection.upsample_neck import UpsampleLevel, upsample_maps
from src.weights.author_names import load_reference_weights, reference_names
from tests.reference.fill import fill_input, fill_parameter

from .case import Case, Check, Row, compare


def anchor_grid(settings: dict[str, Any]) -> AnchorGrid:
    """Of mmdetection's settings."""
    strides, ratios = tuple(settings["strides"]), tuple(settings["ratios"])
    if "octave_base_scale" in settings:
        return AnchorGrid.of_octaves(strides, settings["octave_base_scale"], settings["scales_per_octave"], ratios)
    return AnchorGrid(strides, tuple(settings["scales"]), ratios)


def matcher(settings: dict[str, Any]) -> Matcher:
    """The same of an assigner."""
    ignore = settings.get("ignore_iof_thr", -1)
    return Matcher(
        settings["pos_iou_thr"],
        settings["neg_iou_thr"],
        settings.get("min_pos_iou", 0.0),
        settings.get("match_low_quality", True),
        ignore if ignore > 0 else None,
    )


def choice(test: dict[str, Any]) -> dict[str, Any]:
    """Of mmdetection's settings."""
    return {
        "score_threshold": test["score_thr"],
        "iou_threshold": test["nms"]["iou_threshold"],
        "max_per_image": test["max_per_img"],
    }


def map_rows(values: np.ndarray, width: int) -> np.ndarray:
    """(B, n * width, H, W) -> (B, H * W * n, width)."""
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1)).reshape(len(values), -1, width)


def check_anchors(case: Case) -> Iterator[Row]:
    grid, grids = anchor_grid(case.meta["settings"]), [tuple(g) for g in case.meta["grids"]]
    anchors, valid = grid.anchors(grids), grid.valid(grids, tuple(case.meta["pad_shape"]))
    for level in range(len(grids)):
        yield compare(f"base/{level}", grid.base_anchors(level), case.arrays[f"base/{level}"], 1e-5)
        yield compare(f"anchors/{level}", anchors[level], case.arrays[f"anchors/{level}"], 1e-5)
        yield compare(f"valid/{level}", valid[level], case.arrays[f"valid/{level}"], 0)


def check_box_coder(case: Case) -> Iterator[Row]:
    settings, arrays = case.meta["settings"], case.arrays
    stds, (height, width) = tuple(settings["target_stds"]), case.meta["image_shape"]
    priors, deltas = arrays["proposals"], arrays["deltas"]
    encoded = BoxCoder(stds).encode(priors, arrays["gts"])
    finite = arrays["encoded_is_finite"].astype(bool)
    yield compare("encoded", encoded[finite], arrays["encoded"][finite], 1e-5)
    decode, limits = DecodeBoxes(stds, case.meta["wh_ratio_clip"]), Tensor([width, height] * 2, ms.float32)
    yield compare("decoded", decode(Tensor(priors), Tensor(deltas)), arrays["decoded"], 1e-5)
    yield compare("decoded_clipped", decode(Tensor(priors), Tensor(deltas), limits), arrays["decoded_clipped"], 1e-5)
    back = np.where(np.isfinite(encoded), encoded, 0).astype(np.float32)
    yield compare("roundtrip", decode(Tensor(priors), Tensor(back)), arrays["roundtrip"], 1e-5)
    for name in arrays:
        if name.startswith("decoded_wh_ratio_clip_"):
            other = DecodeBoxes(stds, float(name.rpartition("_")[2]))
            yield compare(name, other(Tensor(priors), Tensor(deltas), limits), arrays[name], 1e-5)
    per_class = arrays["deltas_per_class"]
    rows, classes = len(per_class), per_class.shape[1] // 4
    own = np.repeat(priors[10 : 10 + rows, None], classes, axis=1)
    found = decode(Tensor(own), Tensor(per_class.reshape(rows, classes, 4)), limits)
    yield compare("decoded_per_class", found.asnumpy().reshape(rows, -1), arrays["decoded_per_class"], 1e-5)


def check_assigner(case: Case) -> Iterator[Row]:
    for scene in case.meta["scenes"]:
        own = {name: case.arrays[f"{scene}/{name}"] for name in ("priors", "gts", "gt_labels", "crowd", "overlaps")}
        yield compare(f"{scene}/overlaps", pairwise_iou(own["gts"], own["priors"]), own["overlaps"], 1e-5)
        for name, settings in case.meta["settings"].items():
            if f"{scene}/{name}/gt_inds" not in case.arrays:
                continue
            assigned, overlaps = matcher(settings).match(own["priors"], own["gts"], own["crowd"])
            labels = np.full(len(assigned), -1)
            labels[assigned >= 0] = own["gt_labels"][assigned[assigned >= 0]]
            numbers = np.select([assigned == BACKGROUND, assigned == IGNORED], [0, -1], assigned + 1)
            where = f"{scene}/{name}"
            yield compare(f"{where}/gt_inds", numbers, case.arrays[f"{where}/gt_inds"], 0)
            yield compare(f"{where}/labels", labels, case.arrays[f"{where}/labels"], 0)
            yield compare(f"{where}/max_overlaps", overlaps, case.arrays[f"{where}/max_overlaps"], 1e-5)


class _WeightedLoss(nn.Cell):
    """sum(weight * loss) / average factor, of a case's settings."""

    def __init__(self, settings: dict[str, Any], count: float | None, num_classes: int):
        super().__init__()
        kind = settings["type"]
        self.kind = "mask" if settings.get("use_mask") else kind
        self.factor, self.count, self.num_classes = settings["loss_weight"], count, num_classes
        if kind == "FocalLoss":
            self.loss = FocalLoss(settings["gamma"], settings["alpha"])
        elif kind in ("L1Loss", "SmoothL1Loss"):
            self.loss = SmoothL1(settings.get("beta", 0.0))
        elif settings.get("use_sigmoid") or settings.get("use_mask"):
            self.loss, self.kind = SigmoidCrossEntropy(), self.kind if settings.get("use_mask") else "sigmoid"
        else:
            self.loss = SoftmaxCrossEntropy()

    def construct(self, pred, target, weight):
        values = self.loss(pred, target) * weight
        total = values.mean() if self.count is None else values.sum() / (self.count + 1.19e-7)
        return total * self.factor


def check_losses(case: Case) -> Iterator[Row]:
    classes = case.meta["num_classes"]
    for entry in case.meta["cases"]:
        key, settings = entry["key"], entry["settings"]
        own = {n.removeprefix(f"{key}/"): a for n, a in case.arrays.items() if n.startswith(f"{key}/")}
        pred, target = own["pred"], own["target"]
        weight = own.get("weight", np.ones(1, np.float32))
        loss = _WeightedLoss(settings, entry["avg_factor"], classes)
        picked = None
        if loss.kind in ("FocalLoss", "sigmoid"):
            target = np.eye(classes + 2, dtype=np.float32)[target][:, : pred.shape[1]]  # nothing of background
            weight = weight.reshape(-1, 1)
        elif loss.kind == "mask":
            picked = np.arange(len(pred)), own["labels"]
            pred = pred[picked]
        inputs = [Tensor(x) for x in (pred, target, weight.astype(np.float32))]
        value, gradient = ms.value_and_grad(loss, 0)(*inputs)
        gradient = gradient.asnumpy()
        if picked is not None:
            whole = np.zeros_like(own["pred"])
            whole[picked] = gradient
            gradient = whole
        yield compare(f"{key}/loss", value, own["loss"], 1e-5)
        yield compare(f"{key}/grad", gradient, own["grad"], 1e-5)


class _Keep(nn.Cell):
    """Indices of the boxes that stay, by falling score, and how many."""

    def __init__(self, threshold: float, count: int):
        super().__init__()
        self.order, self.suppress = TopRows(count), Suppress(threshold)

    def construct(self, boxes, scores, labels):
        rows = self.order(scores)[1]
        own = boxes[rows], labels[rows], scores[rows] > -1e9
        return rows, self.suppress(own[0].expand_dims(0), own[1].expand_dims(0), own[2].expand_dims(0))[0]


def check_nms(case: Case) -> Iterator[Row]:
    for entry in case.meta["cases"]:
        key = entry["key"]
        boxes, scores, labels = (case.arrays[f"{key}/{name}"] for name in ("boxes", "scores", "labels"))
        cell = _Keep(entry["iou_threshold"], len(boxes))
        for name, classes in (("keep", labels), ("keep_class_agnostic", labels * 0)):
            rows, stays = (x.asnumpy() for x in cell(Tensor(boxes), Tensor(scores), Tensor(classes)))
            yield compare(f"{key}/{name}", rows[stays], case.arrays[f"{key}/{name}"], 0)


def check_multiclass_nms(case: Case) -> Iterator[Row]:
    for entry in case.meta["cases"]:
        key, classes = entry["key"], entry["num_classes"]
        boxes, scores = case.arrays[f"{key}/boxes"], case.arrays[f"{key}/scores"][:, :classes]
        rows = len(boxes)
        boxes = np.tile(boxes, (1, classes)) if boxes.shape[1] == 4 else boxes
        flat, labels = scores.reshape(-1), np.tile(np.arange(classes, dtype=np.int32), rows)
        choose = Detections(entry["max_per_img"], entry["iou_threshold"])
        inputs = boxes.reshape(-1, 4), flat, labels, flat > entry["score_thr"]
        found = [x.asnumpy()[0] for x in choose(*(Tensor(x[None]) for x in inputs))]
        count = int(found[3])
        dets = np.concatenate([found[0], found[1][:, None]], axis=1)[:count]
        yield compare(f"{key}/dets", dets, case.arrays[f"{key}/dets"], 2e-4)
        yield compare(f"{key}/labels", found[2][:count], case.arrays[f"{key}/labels"], 0)


def predictions(case: Case, net: nn.Cell, test: dict[str, Any]) -> RetinaNetPredictions:
    return RetinaNetPredictions(net, candidates=test["nms_pre"], **choice(test))


class _Raw(nn.Cell):
    """Raw outputs of a head, as mmdetection orders them -> detections."""

    def __init__(self, predictions: RetinaNetPredictions):
        super().__init__()
        self.predictions = predictions

    def construct(self, logits, deltas, shapes, scales):
        return self.predictions.of_outputs(logits, deltas, self.predictions.anchors.landscape, shapes, scales)


class _OnlyAnchors:
    """What predictions ask of a network besides its outputs."""

    def __init__(self, grid: AnchorGrid, num_classes: int, canvas: tuple[int, int]):
        self.anchor_grid, self.num_classes, self.canvas = grid, num_classes, canvas


def check_predict_retinanet(case: Case) -> Iterator[Row]:
    settings, images = case.meta["settings"], case.meta["images"]
    canvas = tuple(images[0]["batch_input_shape"])
    net = _OnlyAnchors(anchor_grid(settings["anchor_generator"]), settings["num_classes"], canvas)
    levels = range(len(net.anchor_grid.strides))
    logits = tuple(Tensor(map_rows(case.arrays[f"cls_score/{i}"], net.num_classes)) for i in levels)
    deltas = tuple(Tensor(map_rows(case.arrays[f"bbox_pred/{i}"], 4)) for i in levels)
    shapes = Tensor(np.array([i["img_shape"] for i in images], np.float32))
    for name in ("network_scale", "original_scale"):
        scales = np.array([i["scale_factor"] if name[0] == "o" else [1, 1] for i in images], np.float32)
        found = _Raw(predictions(case, net, case.meta["test_cfg"]))(logits, deltas, shapes, Tensor(scales))
        yield from compare_detections(name, found, case)


def compare_detections(where: str, found: tuple[Tensor, ...], case: Case) -> Iterator[Row]:
    boxes, scores, labels, counts = (x.asnumpy() for x in found)
    for image, count in enumerate(counts):
        name = f"{where}/{image}"
        yield compare(f"{name}/labels", labels[image, :count], case.arrays[f"{name}/labels"], 0)
        yield compare(f"{name}/scores", scores[image, :count], case.arrays[f"{name}/scores"], 1e-4)
        yield compare(f"{name}/bboxes", boxes[image, :count], case.arrays[f"{name}/bboxes"], 2e-4)


class _SumOfSquares(nn.Cell):
    """The sum over maps of the mean of their squares, and the maps."""

    def __init__(self, part: nn.Cell):
        super().__init__(auto_prefix=False)
        self.part = part

    def construct(self, *maps):
        outputs = self.part(maps)
        total = ops.zeros(())
        for x in outputs:
            total = total + (x * x).mean()
        return total, outputs


def _part(name: str, part: nn.Cell) -> nn.Cell:
    """The part with its name before its parameters', as in a detector."""
    holder = nn.Cell()
    setattr(holder, name, part)
    return holder


def fill(net: nn.Cell, meta: dict[str, Any]) -> None:
    weights = {name: fill_parameter(name, tuple(shape), meta["seed"]) for name, shape in meta["state_dict"]}
    load_reference_weights(net, weights)


def _check_part(case: Case, holder: nn.Cell, part: nn.Cell, train: bool) -> Iterator[Row]:
    fill(holder, case.meta)
    holder.set_train(train)
    seed, shapes = case.meta["seed"], case.meta["inputs"]
    maps = [Tensor(fill_input(tuple(shape), seed + 10 + i)) for i, shape in enumerate(shapes)]
    names = {name: p for name, p in reference_names(holder).items() if p.requires_grad}
    parameters = ms.ParameterTuple(list(names.values()))
    function = ms.value_and_grad(_SumOfSquares(part), tuple(range(len(maps))), parameters, has_aux=True)
    (_, outputs), (of_maps, of_parameters) = function(*maps)
    for i, output in enumerate(outputs):
        yield compare(f"output/{i}", output, case.arrays[f"output/{i}"], 1e-4)
    for i, gradient in enumerate(of_maps):
        if f"grad_input/{i}" in case.arrays:
            yield compare(f"grad_input/{i}", gradient, case.arrays[f"grad_input/{i}"], 1e-4)
    yield from compare_norms(dict(zip(names, of_parameters, strict=True)), case)
    yield from compare_buffers(holder, case)


def compare_norms(gradients: dict[str, Tensor], case: Case) -> Iterator[Row]:
    """Gradient norms, in multiples of what they may differ: 2e-3 relative or 1e-5 absolute, whichever is larger."""
    worst, at = 0.0, ""
    for name, expected in case.meta["grad_norms"].items():
        found = float(np.linalg.norm(gradients[name].asnumpy().astype(np.float64)))
        share = abs(found - expected) / max(2e-3 * expected, 1e-5)
        worst, at = max((worst, at), (share, name))
    yield Row(f"grad_norms (of what they may differ; {at})", worst, 1.0)


def compare_buffers(net: nn.Cell, case: Case) -> Iterator[Row]:
    names = reference_names(net)
    for name, expected in case.arrays.items():
        if name.startswith("buffer/"):
            yield compare(name, names[name.removeprefix("buffer/")], expected, 2e-4)


def check_fpn(case: Case) -> Iterator[Row]:
    part = fpn(case.meta["settings"])
    yield from _check_part(case, _part("neck", part), part, train=False)


def fpn(settings: dict[str, Any]) -> FPN:
    return FPN(
        settings["in_channels"],
        settings["out_channels"],
        settings.get("start_level", 0),
        settings["num_outs"],
        settings.get("add_extra_convs") or "pool",
    )


class _Upsampled(nn.Cell):
    def __init__(self, levels: nn.CellList):
        super().__init__(auto_prefix=False)
        self.levels = levels

    def construct(self, maps):
        return upsample_maps(self.levels, maps)


def check_upsample_neck(case: Case) -> Iterator[Row]:
    levels = nn.CellList([UpsampleLevel(shape[1]) for shape in case.meta["inputs"]])
    yield from _check_part(case, _part("upsample", levels), _Upsampled(levels), train=case.meta["train_mode"])


CHECKS: dict[str, Check] = {
    "anchors": check_anchors,
    "box_coder": check_box_coder,
    "assigner": check_assigner,
    "losses": check_losses,
    "nms": check_nms,
    "multiclass_nms": check_multiclass_nms,
    "predict_retinanet": check_predict_retinanet,
    "fpn": check_fpn,
    "upsample_neck": check_upsample_neck,
}
