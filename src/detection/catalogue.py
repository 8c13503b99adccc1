"""Detectors on PyramidTNT by name: `create_detector("retinanet_ptnt_s", num_classes=80, canvas=(800, 1344))`."""

import fnmatch
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from mindspore import nn

from ..config.former_names import current_names
from ..errors import UserError, nearest, shown
from ..models import get_variant, list_models, resolve_arguments
from ..models.arguments import RULES, check_arguments
from ..rule import Rule, number, whole
from .anchors import AnchorGrid
from .backbone import Backbone
from .fpn import FPN
from .retina_head import RetinaHead
from .retinanet import RetinaNet
from .roi_head import CASCADE, ONE_STAGE, RoIHead
from .rpn_head import RPNHead
from .two_stage import TwoStage, TwoStageSettings
from .upsample_neck import UpsampleLevel

CANVAS = (800, 1344)
CANVAS_MULTIPLE = 32
NUM_CLASSES = 80
LABEL_OF_KIND = {"retinanet": "RetinaNet", "mask_rcnn": "Mask R-CNN", "cascade_mask_rcnn": "Cascade Mask R-CNN"}

_BACKBONES = {name.split("_")[1]: name for name in list_models("ptnt_*")}
_DETECTORS = {f"{kind}_ptnt_{size}": (kind, name) for kind in LABEL_OF_KIND for size, name in _BACKBONES.items()}
_STRIDES = {"retinanet": (8, 16, 32, 64, 128), "mask_rcnn": (4, 8, 16, 32, 64), "cascade_mask_rcnn": (4, 8, 16, 32, 64)}
_ANCHOR_SCALES = {"retinanet": 4.0, "mask_rcnn": 8.0, "cascade_mask_rcnn": 8.0}


def list_detectors(pattern: str = "*") -> list[str]:
    """Names of the detectors that match a shell-style `pattern`."""
    return [name for name in _DETECTORS if fnmatch.fnmatchcase(name, pattern)]


def backbone_of(name: str) -> str:
    """The variant of PyramidTNT in a detector.

    Raises:
        UserError: no detector has this name; the nearest names are listed.
    """
    return _look_up(name)[1]


def kind_of(name: str) -> str:
    """The kind of a detector, a key of `LABEL_OF_KIND`; raises as `backbone_of` does."""
    return _look_up(name)[0]


def _look_up(name: str) -> tuple[str, str]:
    if not isinstance(name, str):
        raise UserError(f"expected the name of a detector, got {shown(name)}")
    if name not in _DETECTORS:
        raise UserError(f"unknown detector {shown(name)}; {nearest(name, _DETECTORS)}")
    return _DETECTORS[name]


def create_detector(
    name: str,
    /,
    num_classes: int = NUM_CLASSES,
    canvas: Sequence[int] = CANVAS,
    table_size: int | Sequence[int] | None = None,
    relative_pos: Sequence[bool] = (True, True, True, True),
    final_norm: bool = False,
    batch_norm: str = "train",
    anchor_scale: float | None = None,
    fpn_channels: int = 256,
    stacked_convs: int = 4,
    fc_channels: int = 1024,
    mask_convs: int = 4,
    proposals: int = 1000,
    regions: int = 512,
    window: int = 32,
    drop_path_rate: float = 0.0,
    backbone: Mapping[str, Any] | None = None,
) -> RetinaNet | TwoStage:
    """Builds a detector with random weights.

    Args:
        name: one of `list_detectors()`.
        num_classes: K.
        canvas: (height, width) of the images in pixels, multiples of 32; images may also be its transpose.
        table_size: side or (height, width) of the images that the backbone's position tables are for; its published
            size when None, so that weights for ImageNet load.
        relative_pos: for each stage whether its attention has the learned bias.
        final_norm: normalise the backbone's last map.
        batch_norm: mode of all batch norms, see `BatchNorm2d`.
        anchor_scale: side of the smallest anchors, in strides of their map, of which the finest has 8 pixels in
            RetinaNet and 4 in the others; 4 and 8 when None.
        fpn_channels: of the pyramid and the heads.
        stacked_convs: of a tower of RetinaNet's head.
        fc_channels: of the layers of a box head; this and what follows are of the detectors with two stages.
        mask_convs: 3x3 convolutions of a mask head.
        proposals: of an image; a cascade trains with twice as many. Anchors of each map that may become one: twice as
            many in training.
        regions: of an image that the heads are trained on.
        window: cells along a side that features of a region come from, see `RoIAlign`.
        drop_path_rate: stochastic depth of the backbone's last block.
        backbone: further arguments of `PyramidTNT`; none of those above. Former names are taken with a warning.

    Raises:
        UserError: an unknown name, or a value that cannot be.
    """
    if isinstance(backbone, Mapping):
        backbone = current_names(backbone, f"create_detector({name!r}): backbone")
    own, kind = locals(), kind_of(name)
    defaults = {key: parameter.default for key, parameter in signature(create_detector).parameters.items()}
    given = {key: own[key] for key in _RULES if own[key] is not None and own[key] != defaults[key]}
    check_detector_arguments(name, {"num_classes": num_classes, **given})
    canvas = check_canvas(canvas)
    further = resolve_arguments(backbone_of(name), dict(backbone or {}))
    for argument in _TOLD:
        further.pop(argument, None)
    body = Backbone(
        canvas,
        final_norm,
        table_size=get_variant(backbone_of(name)).image_size if table_size is None else table_size,
        relative_pos=relative_pos,
        batch_norm=batch_norm,
        drop_path_rate=drop_path_rate,
        **further,
    )
    channels = [info.channels for info in body.feature_info]
    upsample = nn.CellList([UpsampleLevel(width, batch_norm) for width in channels])
    anchors = anchor_grid(name, anchor_scale)
    if kind == "retinanet":
        neck = FPN(channels, fpn_channels, start_level=1, num_outs=5, extra_maps="on_input")
        head = RetinaHead(num_classes, fpn_channels, fpn_channels, anchors.num_per_position, stacked_convs)
        return RetinaNet(body, upsample, neck, head, anchors, canvas)
    is_cascade = kind == "cascade_mask_rcnn"
    return TwoStage(
        body,
        upsample,
        FPN(channels, fpn_channels, num_outs=5),
        RPNHead(fpn_channels, fpn_channels, anchors.num_per_position),
        RoIHead(
            CASCADE if is_cascade else ONE_STAGE, num_classes, fpn_channels, fc_channels, mask_convs, is_cascade, window
        ),
        anchors,
        canvas,
        TwoStageSettings(
            candidates=2 * proposals,
            proposals=proposals * (2 if is_cascade else 1),
            test_proposals=proposals,
            regions=regions,
            rpn_beta=1 / 9 if is_cascade else 0.0,
        ),
    )


_TOLD = ("image_size", "in_channels", "num_classes", "table_size", "relative_pos", "batch_norm", "drop_path_rate")
"""Arguments of the backbone that follow from the detector's."""

_RULES = {
    "num_classes": whole(1, 1_000_000),
    "table_size": RULES["table_size"],
    "relative_pos": RULES["relative_pos"],
    "final_norm": Rule("true or false", lambda value: isinstance(value, bool)),
    "batch_norm": RULES["batch_norm"],
    "anchor_scale": number(0.1, 64),
    "fpn_channels": whole(1, 65536),
    "stacked_convs": whole(0, 100),
    "fc_channels": whole(1, 65536),
    "mask_convs": whole(0, 100),
    "proposals": whole(1, 3000),
    "regions": whole(4, 4096),
    "window": whole(4, 1024),
    "drop_path_rate": RULES["drop_path_rate"],
    "backbone": Rule("names and values", lambda value: isinstance(value, Mapping)),
}

_OF_ONE_STAGE = {"stacked_convs"}
_OF_TWO_STAGES = {"fc_channels", "mask_convs", "proposals", "regions", "window"}


def check_detector_arguments(name: str, arguments: Mapping[str, Any]) -> None:
    """Refuses what `create_detector` cannot be given.

    Raises:
        UserError: an unknown name or argument (the nearest ones are named), or a value of another kind or range.
    """
    kind, variant = _look_up(name)
    others = _OF_TWO_STAGES if kind == "retinanet" else _OF_ONE_STAGE
    rules = {argument: rule for argument, rule in _RULES.items() if argument not in others}
    for argument, value in arguments.items():
        if argument == "canvas":
            check_canvas(value)
        elif argument not in rules:
            raise UserError(f"{name} has no argument {shown(argument)}; {nearest(str(argument), rules)}")
        elif not rules[argument].holds(value):
            raise UserError(f"{name}: {argument}: expected {rules[argument].expected}, got {shown(value)}")
    further = dict(arguments.get("backbone", {}))
    for argument in _TOLD:
        if argument in further:
            raise UserError(f"{name}: backbone: {argument} is no argument here, but follows from the detector's")
    check_arguments(variant, further)


def anchor_grid(name: str, anchor_scale: float | None = None) -> AnchorGrid:
    """The anchors of a detector, see `create_detector`."""
    kind = kind_of(name)
    scale = _ANCHOR_SCALES[kind] if anchor_scale is None else anchor_scale
    if kind == "retinanet":
        return AnchorGrid.of_octaves(_STRIDES[kind], scale)
    return AnchorGrid(_STRIDES[kind], (float(scale),))


def check_canvas(canvas: Sequence[int]) -> tuple[int, int]:
    """A canvas as (height, width).

    Raises:
        UserError: not two positive multiples of 32.
    """
    sides = tuple(canvas) if isinstance(canvas, Sequence) and not isinstance(canvas, str) else (canvas,)
    if len(sides) != 2 or any(type(side) is not int or side < 1 or side % CANVAS_MULTIPLE for side in sides):
        raise UserError(
            f"canvas: expected height and width, positive multiples of {CANVAS_MULTIPLE}, got {shown(canvas)}"
        )
    return sides
