"""What a detector needs, told from its arguments alone, before anything is built; see src/models/memory_need.py."""

from collections.abc import Mapping
from inspect import signature
from math import prod
from typing import Any

from ..models import get_variant, resolve_arguments
from ..models import memory_need as of_models
from .anchors import AnchorGrid
from .catalogue import anchor_grid, backbone_of, create_detector, kind_of
from .mask_head import MASK_SIZE
from .roi_head import BOX_SIZE, CASCADE, MASK_FEATURES

_OUTPUTS = {
    "convolution": 3,
    "upsampling": 8,
}  # arrays: of convolution, norm, ReLU; of `UpsampleLevel`, whose GELU has 2
_OF_LOSS = 8  # arrays of the size of the logits in the focal loss
_DETECTIONS = 100  # of an image, which mask heads look at in evaluation
_MASK_SHARE = 4  # one region in so many is an object's at most, see `RegionSampling`


def num_activations(
    name: str, arguments: Mapping[str, Any], canvas: tuple[int, int], num_classes: int, is_trained: bool
) -> list[int]:
    """Numbers that go into and come out of the layers of each part for one image: the blocks of the backbone, its stem,
    the upsample neck, the pyramid, and the head that looks at all of its maps.

    Args:
        name: of the detector.
        arguments: that it is created with.
        canvas: (height, width) in pixels.
        num_classes: K.
        is_trained: with the losses, or in evaluation.
    """
    a = _all_arguments(arguments)
    network, own = get_variant(backbone_of(name)).network, _backbone(name, a, canvas)
    maps = [
        (prod(-(-side // stride) for side in canvas), width)
        for stride, width in zip((4, 8, 16, 32), own["outer_dims"], strict=True)
    ]
    stem = [(2, 3 * own["inner_dims"][0]), (4, 4 * own["inner_dims"][0])]
    stem += [(8, 8 * own["inner_dims"][0] + own["outer_dims"][0])]
    pixels = canvas[0] * canvas[1]
    grid, channels = anchor_grid(name, a["anchor_scale"]), a["fpn_channels"]
    return [
        *of_models.num_activations(network, own),
        sum(_OUTPUTS["convolution"] * pixels // stride**2 * width for stride, width in stem),
        sum(_OUTPUTS["upsampling"] * positions * width for positions, width in maps),
        4 * _positions(grid, canvas) * channels,  # lateral, enlarged, sum and output
        *(_head if kind_of(name) == "retinanet" else _first_stage)(grid, a, canvas, num_classes, is_trained),
    ]


def num_weights(name: str, arguments: Mapping[str, Any]) -> int:
    """Numbers in the weights of the backbone, nearly all of them."""
    own = resolve_arguments(backbone_of(name), dict(_all_arguments(arguments)["backbone"] or {}))
    return of_models.num_weights(get_variant(backbone_of(name)).network, own)


def num_mask_targets(name: str, arguments: Mapping[str, Any], canvas: tuple[int, int], max_objects: int) -> float:
    """Numbers of 4 bytes in the masks of an image's objects, as bytes, and in those of the regions that are compared
    with them, as float32; 0 of a detector without masks."""
    if kind_of(name) == "retinanet":
        return 0
    return canvas[0] * canvas[1] * (max_objects / 4 + _all_arguments(arguments)["regions"] // _MASK_SHARE)


def _head(grid: AnchorGrid, a: Mapping[str, Any], canvas, num_classes: int, is_trained: bool) -> list[int]:
    positions = _positions(grid, canvas)
    anchors = positions * grid.num_per_position
    head = positions * 4 * a["stacked_convs"] * a["fpn_channels"] + anchors * (num_classes + 4)
    return [head, _OF_LOSS * anchors * num_classes] if is_trained else [head]


def _first_stage(grid: AnchorGrid, a: Mapping[str, Any], canvas, *_: Any) -> list[int]:
    return [_positions(grid, canvas) * (2 * a["fpn_channels"] + 5 * grid.num_per_position)]


def num_of_regions(name: str, arguments: Mapping[str, Any], num_classes: int, is_trained: bool) -> list[int]:
    """The same of each head that looks at the regions of an image, with the cells that `RoIAlign` gathers for them;
    nothing of a detector with one stage."""
    kind, a = kind_of(name), _all_arguments(arguments)
    if kind == "retinanet":
        return []
    is_cascade = kind == "cascade_mask_rcnn"
    channels, window, width = a["fpn_channels"], a["window"], a["fc_channels"]
    boxes = a["regions"] if is_trained else a["proposals"]
    masks = a["regions"] // _MASK_SHARE if is_trained else _DETECTIONS

    def features(size: int) -> int:
        """Cells that `RoIAlign` gathers for a region, its rows, its bins."""
        return channels * (window**2 + size * window + size**2)

    box_head = boxes * (features(BOX_SIZE) + 4 * width + num_classes + 1 + 4 * (1 if is_cascade else num_classes))
    mask_head = masks * (
        MASK_FEATURES**2 * 2 * a["mask_convs"] * channels + MASK_SIZE**2 * (2 * channels + num_classes)
    )
    of_masks = masks * features(MASK_FEATURES)
    stages = len(CASCADE) if is_cascade else 1
    return [*[box_head] * stages, *[mask_head] * stages, *[of_masks] * (stages if is_trained else 1)]


def _positions(grid: AnchorGrid, canvas: tuple[int, int]) -> int:
    return sum(rows * columns for rows, columns in grid.grids(canvas))


def _all_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {key: parameter.default for key, parameter in signature(create_detector).parameters.items()}
    return {**defaults, **arguments}


def _backbone(name: str, a: Mapping[str, Any], canvas: tuple[int, int]) -> dict[str, Any]:
    return {**resolve_arguments(backbone_of(name), dict(a["backbone"] or {})), "image_size": canvas}
