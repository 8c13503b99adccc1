"""The card of the detector that a configuration describes, and what a file says beside what a user asks for."""

from collections.abc import Mapping
from typing import Any

from ..config import Config, ModelConfig
from ..data.coco import Coco
from ..detection.catalogue import CANVAS, backbone_of, check_canvas, check_detector_arguments
from ..errors import UserError
from ..models import get_variant
from ..weights.checkpoint import Checkpoint
from ..weights.detector_card import DetectorCard
from .configured_card import own_structure


def create_detector_card(config: Config, data: Coco) -> DetectorCard:
    """The card of `config` for the categories of `data`."""
    if config.model.num_classes not in (None, len(data.classes)):
        raise UserError(
            f"model.num_classes is {config.model.num_classes}, but {data.annotations_file} has {len(data.classes)} "
            "categories"
        )
    return describe_detector(config, data.classes, data.category_ids)


def describe_detector(config: Config, classes: list[str], category_ids: list[int]) -> DetectorCard:
    """The card of the detector that `config` describes."""
    model, data = config.model, config.data
    variant = get_variant(backbone_of(model.name))
    size = model.image_size
    canvas = check_canvas(CANVAS if size is None else (size, size) if isinstance(size, int) else size)
    if model.in_channels != 3:
        raise UserError(f"model.in_channels is {model.in_channels}: detectors take images of 3 channels")
    card = DetectorCard(
        model=model.name,
        arguments=_arguments(model),
        classes=list(classes),
        category_ids=list(category_ids),
        canvas=canvas,
        short_side=max(data.short_sides),
        long_side=data.long_side,
        mean=variant.mean,
        std=variant.std,
    )
    check_detector_arguments(card.model, card.detector_arguments())
    return card


def _arguments(model: ModelConfig) -> dict[str, Any]:
    """What is not as published in the detector that `model` describes."""
    structure = own_structure(model)
    backbone = structure.get("backbone", {})
    if not model.se or not isinstance(backbone, Mapping):
        return structure
    if "se" in backbone:
        raise UserError("model.structure.backbone.se: give it as model.se")
    return {**structure, "backbone": {"se": True, **backbone}}


def detector_card_of(
    checkpoint: Checkpoint, config: Config, given: Mapping[str, Any]
) -> tuple[DetectorCard, list[str]]:
    """What a checkpoint says about its detector; a configuration that names another one is refused.

    Raises:
        UserError: it holds no detector, or another than the one that is asked for.
    """
    card, path = checkpoint.card, checkpoint.path
    if not isinstance(card, DetectorCard):
        raise UserError(f"{path} holds no detector: name a checkpoint of one, or leave the detector's --config out")
    try:
        check_detector_arguments(card.model, card.detector_arguments())
    except UserError as error:
        raise UserError(f"{path}: its description of the network cannot be used: {error}") from error
    named_model = given.get("model", {}).get("name") or (config.model.name if "config" in given else None)
    if named_model not in (None, card.model):
        raise UserError(f"{path} holds {card.model}, and {named_model} is asked for: leave that out")
    return card, []
