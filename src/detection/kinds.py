"""What a task needs of each kind of detector: targets, losses, predictions."""

from collections.abc import Mapping, Sequence
from typing import Any

from mindspore import nn

from .anchor_targets import AnchorTargets
from .catalogue import anchor_grid, kind_of
from .matcher import Matcher
from .region_targets import RegionTargets
from .retinanet import RetinaNet, RetinaNetLosses, RetinaNetPredictions
from .roi_head import CASCADE
from .two_stage import TwoStageLosses, TwoStagePredictions, loss_names

RETINANET_MATCHER = Matcher(0.5, 0.4, 0.0)
RPN_MATCHER = Matcher(0.7, 0.3, 0.3)


def has_masks(name: str) -> bool:
    """Whether a detector gives the pixels of its objects, and is trained on them."""
    return kind_of(name) != "retinanet"


def loss_names_of(name: str) -> tuple[str, ...]:
    """Of what `create_losses` gives."""
    kind = kind_of(name)
    if kind == "retinanet":
        return "cls", "bbox"
    return loss_names(len(CASCADE) if kind == "cascade_mask_rcnn" else 1)


def create_targets(
    name: str, arguments: Mapping[str, Any], num_classes: int, max_objects: int
) -> AnchorTargets | RegionTargets:
    """What makes the targets of an image, for the loaders.

    Args:
        name: of the detector.
        arguments: that it was created with.
        num_classes: K.
        max_objects: that an image has at most.
    """
    grid, kind = anchor_grid(name, arguments.get("anchor_scale")), kind_of(name)
    if kind == "retinanet":
        return AnchorTargets(grid, RETINANET_MATCHER, num_classes)
    return RegionTargets(grid, RPN_MATCHER, max_objects, allowed_border=0 if kind == "cascade_mask_rcnn" else -1)


def scores_of_anchors(name: str, outputs: Sequence[Any]) -> tuple[Any, ...]:
    """Of what a detector gives for images, the logits of its anchors, of each map (B, A, K), or of a first stage, which
    knows objects but no classes, (B, A)."""
    return outputs[0] if kind_of(name) == "retinanet" else outputs[1]


def what_anchors_say(name: str) -> str:
    """What the probabilities of a detector's anchors are of, in words."""
    return "the most probable class" if kind_of(name) == "retinanet" else "any object, as the first stage sees it"


def create_losses(net: nn.Cell, num_ranks: int = 1) -> RetinaNetLosses | TwoStageLosses:
    """Takes images and the targets of `create_targets`, in their order."""
    return (RetinaNetLosses if isinstance(net, RetinaNet) else TwoStageLosses)(net, num_ranks)


def create_predictions(net: nn.Cell, **choice: Any) -> RetinaNetPredictions | TwoStagePredictions:
    """Takes images, their shapes and scales.

    Args:
        net: a detector.
        **choice: which boxes stay, see `RetinaNetPredictions`.
    """
    return (RetinaNetPredictions if isinstance(net, RetinaNet) else TwoStagePredictions)(net, **choice)
