"""Detectors with two stages, their parts and whole networks, against reference cases."""

from collections.abc import Iterator
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from src.compilation.shared_graphs import share_graphs
from src.detection.decode_boxes import DecodeBoxes
from src.detection.matcher import Matcher
from src.detection.region_targets import RegionTargets
from src.detection.roi_align import RoIAlign
from src.detection.roi_head import RoIHead, Stage
from src.detection.rpn_head import Proposals, RPNHead
from src.detection.two_stage import TwoStage, TwoStageLosses, TwoStagePredictions, TwoStageSettings
from src.detection.upsample_neck import UpsampleLevel, upsample_maps
from tests.reference.fill import fill_input

from . import networks, parts
from .case import Case, Check, Row, compare

ALL = 10**6  # pairs of a region and a class: mmdetection sets no bound


class _Pooled(nn.Cell):
    """Features of regions, and their sum weighted by what a case gives."""

    def __init__(self, align: RoIAlign):
        super().__init__()
        self.align = align

    def construct(self, images, boxes, weights, *maps):
        pooled = self.align(maps, images, boxes)
        return (pooled * weights).sum(), pooled


def _check_pooling(case: Case, align: RoIAlign, maps: list[str], gradients: list[str]) -> Iterator[Row]:
    rois = case.arrays["rois"]
    images, boxes = Tensor(rois[:, 0].astype(np.int32)), Tensor(rois[:, 1:])
    features = tuple(Tensor(case.arrays[name]) for name in maps)
    weights = Tensor(case.arrays["grad_output"])
    function = ms.value_and_grad(_Pooled(align), tuple(range(3, 3 + len(maps))), None, has_aux=True)
    (_, found), of_maps = function(images, boxes, weights, *features)
    yield compare("output", found, case.arrays["output"], 1e-4)
    of_maps = of_maps if isinstance(of_maps, tuple) else (of_maps,)
    for name, gradient in zip(gradients, of_maps, strict=True):
        yield compare(name, gradient, case.arrays[name], 1e-4)
    if "levels" in case.arrays:
        yield compare("levels", align.levels(boxes), case.arrays["levels"], 0)


def check_roi_align(case: Case) -> Iterator[Row]:
    settings, shape = case.meta["settings"], case.arrays["features"].shape
    stride = 1 / settings["spatial_scale"]
    extent = np.abs(case.arrays["rois"][:, 1:]).max() / stride
    align = RoIAlign(
        settings["output_size"], [stride], int(2 * max(extent, *shape[2:])) + 3, settings["sampling_ratio"]
    )
    yield from _check_pooling(case, align, ["features"], ["grad_features"])


def check_roi_extractor(case: Case) -> Iterator[Row]:
    settings = case.meta["settings"]
    layer, strides = settings["roi_layer"], settings["featmap_strides"]
    window = int(2 * np.abs(case.arrays["rois"][:, 1:]).max() / strides[0]) + 3
    align = RoIAlign(layer["output_size"], strides, window, layer["sampling_ratio"])
    numbers = range(len(strides))
    yield from _check_pooling(case, align, [f"features/{i}" for i in numbers], [f"grad_features/{i}" for i in numbers])


def _shapes(case: Case) -> Tensor:
    return Tensor(np.array([image["img_shape"] for image in case.meta["images"]], np.float32))


def _scales(case: Case) -> Tensor:
    return Tensor(np.array([image["scale_factor"] for image in case.meta["images"]], np.float32))


def _proposals(settings: dict[str, Any]) -> Proposals:
    return Proposals(DecodeBoxes(), settings["nms_pre"], settings["max_per_img"], settings["nms"]["iou_threshold"])


def _compare_proposals(where: str, found: tuple[Tensor, ...], case: Case) -> Iterator[Row]:
    boxes, scores, valid = (x.asnumpy() for x in found)
    for image in range(len(boxes)):
        there = valid[image]
        yield compare(f"{where}/{image}/bboxes", boxes[image][there], case.arrays[f"{where}/{image}/bboxes"], 2e-4)
        yield compare(f"{where}/{image}/scores", scores[image][there], case.arrays[f"{where}/{image}/scores"], 1e-4)


def check_predict_rpn(case: Case) -> Iterator[Row]:
    grid = parts.anchor_grid(case.meta["settings"]["anchor_generator"])
    logits, deltas, anchors = [], [], []
    levels = range(len(grid.strides))
    grids = [case.arrays[f"cls_score/{i}"].shape[2:] for i in levels]
    for i, own in zip(levels, grid.anchors(grids), strict=True):
        logits.append(Tensor(parts.map_rows(case.arrays[f"cls_score/{i}"], 1)[:, :, 0]))
        deltas.append(Tensor(parts.map_rows(case.arrays[f"bbox_pred/{i}"], 4)))
        anchors.append(Tensor(own))
    found = _proposals(case.meta["test_cfg"])(tuple(logits), tuple(deltas), tuple(anchors), _shapes(case))
    yield from _compare_proposals("proposals", found, case)


class _OnlyHeads(nn.Cell):
    """What predictions need of a network whose heads' outputs are given."""

    def __init__(self, head: RoIHead):
        super().__init__()
        self.roi_head, self.num_classes = head, head.num_classes
        self.canvas, self.settings = (32, 32), TwoStageSettings()
        self.anchor_grid = parts.anchor_grid({"strides": [4, 8, 16, 32, 64], "scales": [8], "ratios": [1.0]})


def _stages(heads: list[dict[str, Any]], assigners: list[dict[str, Any]] | None = None) -> tuple[Stage, ...]:
    weights = (1.0, 0.5, 0.25) if len(heads) > 1 else (1.0,)
    return tuple(
        Stage(
            parts.matcher(assigners[i]) if assigners else Matcher(0.5, 0.5, 0.5),
            tuple(head["bbox_coder"]["target_stds"]),
            weights[i],
            head["loss_bbox"].get("beta", 1.0) if head["loss_bbox"]["type"] == "SmoothL1Loss" else 0.0,
        )
        for i, head in enumerate(heads)
    )


def _as_list(heads: Any) -> list[Any]:
    return heads if isinstance(heads, list) else [heads]


def _roi_head(settings: dict[str, Any], train: list[dict[str, Any]] | None, window: int) -> RoIHead:
    heads = _as_list(settings["bbox_head"])
    mask = _as_list(settings["mask_head"])[0] if "mask_head" in settings else {"num_convs": 0}
    return RoIHead(
        _stages(heads, [own["assigner"] for own in train] if train else None),
        heads[0]["num_classes"],
        heads[0]["in_channels"],
        heads[0]["fc_out_channels"],
        mask["num_convs"],
        heads[0]["reg_class_agnostic"],
        window,
    )


class _Raw(nn.Cell):
    """Detections of given logits and deltas; those of the stages before the last move the regions."""

    def __init__(self, predictions: TwoStagePredictions):
        super().__init__()
        self.predictions = predictions

    def construct(self, logits, deltas, regions, shapes, factors):
        head, batch, count = self.predictions.net.roi_head, regions.shape[0], regions.shape[1]
        total, moved = 0.0, ()
        for stage in range(len(logits)):
            if stage > 0:
                regions = head.refined(stage - 1, regions, deltas[stage - 1], shapes)
                moved = moved + (regions,)
            total = total + logits[stage]
        scores = self.predictions.probabilities(total).reshape(batch, count, -1)
        last = deltas[-1].reshape(batch, count, -1, 4)
        valid = ops.ones((batch, count), ms.float32) > 0.0
        return self.predictions.of_regions(scores, regions, last, valid, shapes, factors), moved


def check_predict_heads(case: Case) -> Iterator[Row]:
    head, test = _roi_head(case.meta["settings"], None, 16), case.meta["test_cfg"]
    predictions = TwoStagePredictions(_OnlyHeads(head), candidates=ALL, **parts.choice(test))
    batch, stages = len(case.meta["images"]), range(len(head.stages))
    logits = tuple(Tensor(case.arrays[f"cls_score/{i}"]) for i in stages)
    deltas = tuple(Tensor(case.arrays[f"bbox_pred/{i}"]) for i in stages)
    regions = Tensor(case.arrays["rois/0"][:, 1:].reshape(batch, -1, 4))
    shapes, scales, raw = _shapes(case), _scales(case), _Raw(predictions)
    for name, factors in (("network_scale", ops.ones_like(scales)), ("original_scale", scales)):
        found, moved = raw(logits, deltas, regions, shapes, factors)
        yield from parts.compare_detections(name, found, case)
    for i, boxes in enumerate(moved, start=1):
        yield compare(f"rois/{i}", boxes.reshape(-1, 4), case.arrays[f"rois/{i}"][:, 1:], 2e-4)


def create_two_stage(meta: dict[str, Any]) -> TwoStage:
    """The network of a case."""
    config, canvas = meta["config"], tuple(meta["input"][2:])
    body, train = networks.backbone(meta), config["train_cfg"]
    rpn, stages = config["rpn_head"], _as_list(train["rcnn"])
    grid = parts.anchor_grid(rpn["anchor_generator"])
    own = train["rpn_proposal"]
    test_proposals = config["test_cfg"]["rpn"]["max_per_img"]
    beta = rpn["loss_bbox"].get("beta", 1.0) if rpn["loss_bbox"]["type"] == "SmoothL1Loss" else 0.0
    return TwoStage(
        body,
        nn.CellList([UpsampleLevel(info.channels) for info in body.feature_info]),
        parts.fpn(config["neck"]),
        RPNHead(rpn["in_channels"], rpn["feat_channels"], grid.num_per_position),
        _roi_head(config["roi_head"], stages, max(canvas) // 4 + 3),
        grid,
        canvas,
        TwoStageSettings(own["nms_pre"], own["max_per_img"], test_proposals, stages[0]["sampler"]["num"], beta),
    )


class _Forward(nn.Cell):
    """Everything on the way of a detector."""

    def __init__(self, net: TwoStage):
        super().__init__(auto_prefix=False)
        self.net = net

    def construct(self, images):
        maps = self.net.backbone.canvas_maps(images)
        pyramid = self.net.neck(upsample_maps(self.net.upsample, maps))
        logits, deltas = self.net.rpn_head(pyramid)
        return maps, pyramid, logits, deltas


def _check_forward(where: str, case: Case, net: TwoStage, images: Tensor) -> Iterator[Row]:
    maps, pyramid, logits, deltas = _Forward(net)(images)
    yield from networks.compare_maps(where, case, maps, pyramid)
    for i, (own, moved) in enumerate(zip(logits, deltas, strict=True)):
        for name, found, width in (("cls_score", own.reshape(*own.shape, 1), 1), ("bbox_pred", moved, 4)):
            key = f"{where}rpn/{name}/{i}"
            if key in case.arrays:
                yield compare(key, found, parts.map_rows(case.arrays[key], width), 2e-4)


class _Regions(nn.Cell):
    """What a training step makes on its way: proposals, and of each stage regions, labels, outputs and targets."""

    def __init__(self, losses: TwoStageLosses):
        super().__init__(auto_prefix=False)
        self.losses = losses

    def construct(self, images, boxes, labels, masks, shapes, key):
        own = self.losses
        maps, logits, deltas = own.net(images)
        proposals = own.propose(logits, deltas, own.anchors(images), shapes)
        regions, valid, stages = proposals[0], proposals[2], ()
        for stage in range(len(own.weights)):
            regions, found, drawn, is_own = own.samplings[stage](regions, valid, boxes, labels >= 0, key)
            scores, moved = own.net.roi_head.boxes(stage, maps, regions)
            stages = stages + ((regions, found, drawn, scores, moved),)
            if stage + 1 < len(own.weights):
                regions = own.net.roi_head.refined(stage, regions, moved, shapes)
                valid = ops.logical_and(drawn, ops.logical_not(is_own))
        return proposals, stages


def _check_regions(case: Case, losses: TwoStageLosses, images: Tensor, truth: dict[str, Tensor]) -> Iterator[Row]:
    given = [truth[name] for name in ("boxes", "labels", "masks", "img_shape", "key")]
    proposals, stages = _Regions(losses)(images, *given)
    yield from _compare_proposals("train/train_proposals", proposals, case)
    labels = truth["labels"].asnumpy()
    for stage, values in enumerate(stages):
        regions, found, drawn, scores, moved = (x.asnumpy() for x in values)
        where = f"train/stage{stage}"
        batch, count = found.shape
        image = np.repeat(np.arange(batch, dtype=np.float32), count).reshape(batch, count, 1)
        own = np.concatenate([image, regions], axis=2)[drawn]
        is_object = found >= 0
        classes = np.where(is_object, np.take_along_axis(labels, np.maximum(found, 0), 1), case.meta["num_classes"])
        expected = case.arrays[f"{where}/rois"]
        order, reference = _order(own), _order(expected)
        for name, value in (
            ("rois", own),
            ("labels", classes[drawn]),
            ("cls_score", scores.reshape(batch, count, -1)[drawn]),
            ("bbox_pred", moved.reshape(batch, count, -1)[drawn]),
        ):
            if value.shape != case.arrays[f"{where}/{name}"].shape:
                yield compare(f"{where}/{name}", value, case.arrays[f"{where}/{name}"], 0)
            else:
                bound = 0 if name == "labels" else 2e-4
                yield compare(f"{where}/{name}", value[order], case.arrays[f"{where}/{name}"][reference], bound)


def _order(rois: np.ndarray) -> np.ndarray:
    """By image and box: the order in which regions are drawn means nothing."""
    return np.lexsort(np.round(rois, 1).T[::-1])


def _truth(case: Case, net: TwoStage) -> dict[str, Tensor]:
    meta, canvas = case.meta, tuple(case.meta["input"][2:])
    train = meta["config"]["train_cfg"]["rpn"]
    counts = [len(case.arrays[f"gt/{i}/boxes"]) for i in range(len(meta["images"]))]
    encode = RegionTargets(
        net.anchor_grid,
        parts.matcher(train["assigner"]),
        max(counts) + 1,
        train["sampler"]["num"],
        train["sampler"]["pos_fraction"],
        train["allowed_border"],
    )
    targets = []
    for i, image in enumerate(meta["images"]):
        height, width = image["img_shape"]
        masks = np.unpackbits(case.arrays[f"gt/{i}/masks_packed"], axis=1)[:, : canvas[0] * canvas[1]]
        masks = masks.reshape(-1, *canvas)[:, :height, :width]
        boxes, labels = case.arrays[f"gt/{i}/boxes"], case.arrays[f"gt/{i}/labels"]
        targets.append(encode(boxes, labels, (height, width), canvas, masks, np.random.default_rng(i)))
    return {name: Tensor(np.stack([target[name] for target in targets])) for name in targets[0]}


def check_network(case: Case) -> Iterator[Row]:
    meta = case.meta
    net = create_two_stage(meta)
    share_graphs(net)
    parts.fill(net, meta)
    images = Tensor(fill_input(tuple(meta["input"]), meta["seed"]))
    test = meta["config"]["test_cfg"]
    yield from _check_forward("", case, net.set_train(False), images)
    predictions = TwoStagePredictions(net, candidates=ALL, **parts.choice(test["rcnn"])).set_train(False)
    predictions.propose = _proposals(test["rpn"])
    found = predictions(images, _shapes(case), _scales(case))
    yield from parts.compare_detections("detections", found[:4], case)
    counts, masks = found[3].asnumpy(), found[4].asnumpy()
    for i, count in enumerate(counts):
        name = f"detections/{i}/mask_probabilities"
        yield compare(name, masks[i, :count], case.arrays[name], 2e-4)
    if any(name.startswith("train_forward/") for name in case.arrays):
        yield from _check_forward("train_forward/", case, net.set_train(True), images)
        yield from parts.compare_buffers(net, case)
        parts.fill(net, meta)

    truth, losses = _truth(case, net), TwoStageLosses(net)
    losses.set_train(meta["train_mode"])
    yield from _check_regions(case, losses, images, truth)
    if meta["train_mode"]:
        parts.fill(net, meta)
    batch = list(truth.values())
    yield from networks.compare_training(case, net, losses, images, batch, _loss_names(case))


def _loss_names(case: Case) -> list[str]:
    stages = len(_as_list(case.meta["config"]["roi_head"]["bbox_head"]))
    own = ("loss_cls", "loss_bbox", "loss_mask")
    heads = list(own) if stages == 1 else [f"s{i}.{name}" for i in range(stages) for name in own]
    return ["loss_rpn_cls", "loss_rpn_bbox", *heads]


CHECKS: dict[str, Check] = {
    "roi_align": check_roi_align,
    "roi_extractor": check_roi_extractor,
    "predict_rpn": check_predict_rpn,
    "predict_roi_head": check_predict_heads,
    "predict_cascade": check_predict_heads,
    "network_mask_rcnn": check_network,
    "network_cascade_mask_rcnn": check_network,
}
