"""RetinaNet as a whole, against reference cases, and what is the same for every detector."""

from collections.abc import Iterator, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from src.compilation.shared_graphs import share_graphs
from src.config.former_names import current_names
from src.detection.anchor_targets import AnchorTargets
from src.detection.backbone import Backbone
from src.detection.box_coding import BoxCoder
from src.detection.retina_head import RetinaHead
from src.detection.retinanet import RetinaNet, RetinaNetLosses
from src.detection.upsample_neck import UpsampleLevel, upsample_maps
from src.engine.train_step import TrainStep
from src.optim.optimizer import AdamW, decay_groups
from src.weights.author_names import reference_names
from tests.reference.fill import fill_input

from . import parts
from .case import Case, Check, Row, compare


def backbone(meta: dict[str, Any]) -> Backbone:
    """The authors' arguments -> ours."""
    arguments = dict(meta["backbone"]["kwargs"])
    configs = current_names(arguments.pop("configs"))
    size = arguments.pop("img_size")
    canvas = (size, size) if isinstance(size, int) else tuple(size)
    arguments.pop("num_classes", None)
    return Backbone(canvas, meta["backbone"].get("final_norm", False), **configs, **arguments)


def create_retinanet(meta: dict[str, Any]) -> RetinaNet:
    """The network of a case: `backbone` (the authors' arguments), `upsample` and `config` (mmdetection's)."""
    body = backbone(meta)
    head, neck = meta["config"]["bbox_head"], meta["config"]["neck"]
    grid = parts.anchor_grid(head["anchor_generator"])
    return RetinaNet(
        body,
        nn.CellList([UpsampleLevel(info.channels) for info in body.feature_info]),
        parts.fpn(neck),
        RetinaHead(
            meta["num_classes"],
            head["in_channels"],
            head["feat_channels"],
            grid.num_per_position,
            head["stacked_convs"],
        ),
        grid,
        tuple(meta["input"][2:]),
    )


class _Maps(nn.Cell):
    """Everything on the way of a detector."""

    def __init__(self, net: RetinaNet):
        super().__init__(auto_prefix=False)
        self.net = net

    def construct(self, images):
        maps = self.net.backbone.canvas_maps(images)
        pyramid = self.net.neck(upsample_maps(self.net.upsample, maps))
        logits, deltas = self.net.bbox_head(pyramid)
        return maps, pyramid, logits, deltas


class _SumOfLosses(nn.Cell):
    def __init__(self, losses: nn.Cell):
        super().__init__(auto_prefix=False)
        self.losses = losses

    def construct(self, *batch):
        losses = self.losses(*batch)
        return losses.sum(), losses


def check_network_retinanet(case: Case) -> Iterator[Row]:
    meta = case.meta
    net = create_retinanet(meta)
    share_graphs(net)
    parts.fill(net, meta)
    images = Tensor(fill_input(tuple(meta["input"]), meta["seed"]))
    yield from _check_forward("", case, net.set_train(False), images)
    shapes = Tensor(np.array([i["img_shape"] for i in meta["images"]], np.float32))
    scales = Tensor(np.array([i["scale_factor"] for i in meta["images"]], np.float32))
    predictions = parts.predictions(case, net, meta["config"]["test_cfg"]).set_train(False)
    yield from parts.compare_detections("detections", predictions(images, shapes, scales), case)
    if any(name.startswith("train_forward/") for name in case.arrays):
        yield from _check_forward("train_forward/", case, net.set_train(True), images)
        yield from parts.compare_buffers(net, case)
        parts.fill(net, meta)

    head = meta["config"]["bbox_head"]
    encode = AnchorTargets(
        net.anchor_grid,
        parts.matcher(meta["config"]["train_cfg"]["assigner"]),
        meta["num_classes"],
        BoxCoder(tuple(head["bbox_coder"]["target_stds"])),
    )
    targets = [
        encode(
            case.arrays[f"gt/{i}/boxes"],
            case.arrays[f"gt/{i}/labels"],
            tuple(image["img_shape"]),
            tuple(meta["input"][2:]),
        )
        for i, image in enumerate(meta["images"])
    ]
    truth = [Tensor(np.stack([target[name] for target in targets])) for name in ("labels", "deltas")]
    losses = RetinaNetLosses(net)
    losses.set_train(meta["train_mode"])
    yield from compare_training(case, net, losses, images, truth, ("loss_cls", "loss_bbox"))


def compare_training(
    case: Case, net: nn.Cell, losses: nn.Cell, images: Tensor, truth: list[Tensor], names_of_losses: Sequence[str]
) -> Iterator[Row]:
    """Losses, gradients, and a run of AdamW where the case has one."""
    meta = case.meta
    names = {name: p for name, p in reference_names(net).items() if p.requires_grad}
    function = ms.value_and_grad(_SumOfLosses(losses), None, ms.ParameterTuple(list(names.values())), has_aux=True)
    (total, values), gradients = function(images, *truth)
    yield compare("total_loss", total, meta["total_loss"], 1e-4)
    for i, name in enumerate(names_of_losses):
        yield compare(f"losses/{name}", values[i], meta["losses"][name], 1e-4)
    gradients = dict(zip(names, gradients, strict=True))
    yield from parts.compare_norms(gradients, case)
    for name, expected in case.arrays.items():
        if name.startswith("grad/"):
            found = gradients[name.removeprefix("grad/")].asnumpy().reshape(-1)[: expected.size]
            yield compare(name, found, expected, 2e-3)
    if "adamw" in meta:
        parts.fill(net, meta)
        yield compare("adamw_losses", _adamw_losses(meta, net, losses, truth), case.arrays["adamw_losses"], 1e-3)


def compare_maps(where: str, case: Case, maps: tuple[Tensor, ...], pyramid: tuple[Tensor, ...]) -> Iterator[Row]:
    """Of the backbone and of the pyramid."""
    for i, x in enumerate(maps):
        yield compare(f"{where}backbone/{i}", x, case.arrays[f"{where}backbone/{i}"], 2e-4)
    for i, x in enumerate(pyramid):
        if f"{where}fpn/{i}" in case.arrays:
            yield compare(f"{where}fpn/{i}", x.asnumpy()[:1, :8], case.arrays[f"{where}fpn/{i}"], 2e-4)


def _check_forward(where: str, case: Case, net: RetinaNet, images: Tensor) -> Iterator[Row]:
    maps, pyramid, logits, deltas = _Maps(net)(images)
    yield from compare_maps(where, case, maps, pyramid)
    for name, found, width in (("cls_score", logits, net.num_classes), ("bbox_pred", deltas, 4)):
        for i, x in enumerate(found):
            if f"{where}{name}/{i}" in case.arrays:
                yield compare(f"{where}{name}/{i}", x, parts.map_rows(case.arrays[f"{where}{name}/{i}"], width), 2e-4)


def _adamw_losses(meta: dict[str, Any], net: nn.Cell, losses: nn.Cell, truth: list[Tensor]) -> list[float]:
    settings = meta["adamw"]
    groups = decay_groups(net, settings["weight_decay"])
    optimizer = AdamW(groups, settings["lr"], 0.0, *settings["betas"], settings["eps"])
    step = TrainStep(losses, optimizer, batch_size=meta["input"][0])
    net.set_train(meta["train_mode"])
    found = []
    for number in range(settings["steps"]):
        images = Tensor(fill_input(tuple(meta["input"]), meta["seed"] + 100 + number))
        found.append(float(step(images, *truth).asnumpy().sum()))
    return found


CHECKS: dict[str, Check] = {
    "network_retinanet": check_network_retinanet,
}
