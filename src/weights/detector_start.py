"""A detector that starts from other weights: its backbone from a classifier's, or all of it from another detector's."""

from dataclasses import replace

import numpy as np
from mindspore import nn

from ..detection.catalogue import backbone_of
from ..errors import UserError
from ..layers.image_size import to_sides
from ..models.same_network import network_differences
from .checkpoint import Checkpoint
from .described_network import check_card
from .detector_card import DetectorCard
from .loading import load_weights

BACKBONE = "backbone."
OUTPUTS_OF_CLASSES = {"retina_cls", "fc_cls", "fc_reg", "conv_logits"}
"""Layers with an output for each class."""


def load_backbone_or_detector(net: nn.Cell, checkpoint: Checkpoint, card: DetectorCard) -> list[str]:
    """Fills a detector as far as a checkpoint goes; the rest keeps its random weights.

    Args:
        net: the detector.
        checkpoint: of a classifier, whose weights without the head become the backbone's; or of a detector of the same
            structure, whose output of classes starts anew where the labels are others. One that does not say what it
            holds is taken for a detector where its names are such.
        card: describes `net`.

    Returns:
        What was left out and resized, as lines for the log.

    Raises:
        UserError: another network; `net` is unchanged.
    """
    there, own = checkpoint.card, {p.name: p.asnumpy() for p in net.get_parameters()}
    if isinstance(there, DetectorCard) or there is None and any(n.startswith(BACKBONE) for n in checkpoint.weights):
        if there is not None and (there.model, there.arguments) != (card.model, card.arguments):
            raise UserError(
                f"{checkpoint.path} holds {there.model} with {there.arguments}, and this run trains {card.model} with "
                f"{card.arguments}: make the run's section 'model' that of the checkpoint"
            )
        weights, lines = dict(checkpoint.weights), []
        if there is None or there.classes != card.classes:
            lines.append("the outputs of classes start anew: the checkpoint has other labels")
            weights |= {name: value for name, value in own.items() if OUTPUTS_OF_CLASSES & set(name.split("."))}
    else:
        weights, lines = _of_classifier(net, checkpoint, card)
        weights = {**{name: value for name, value in own.items() if not name.startswith(BACKBONE)}, **weights}
    load_weights(net, replace(checkpoint, weights=weights))
    return lines


def _of_classifier(net: nn.Cell, checkpoint: Checkpoint, card: DetectorCard) -> tuple[dict[str, np.ndarray], list[str]]:
    """Weights of the backbone by their names in the detector, and lines for the log."""
    lines, backbone, there = ["the backbone starts from a classifier's weights"], net.backbone, checkpoint.card
    weights = {name: value for name, value in checkpoint.weights.items() if not name.startswith("head.")}
    if there is not None:
        check_card(there, checkpoint.path)
        own_tables = {"table_size", "relative_pos"}  # resized, and there in any case
        structure = {key: value for key, value in there.arguments.items() if key not in own_tables}
        arguments = card.arguments.get("backbone", {})
        if differences := network_differences(there.model, structure, backbone_of(card.model), arguments):
            raise UserError(
                f"{checkpoint.path} holds another network than the backbone of this run ({'; '.join(differences)}): "
                "describe the checkpoint's in model.structure.backbone"
            )
        table_size = to_sides(there.arguments.get("table_size") or there.image_size)
        if table_size != backbone.table_size:
            for name, resize in backbone.table_resizers(table_size).items():
                weights[name] = resize(weights[name])
            old, new = ("x".join(map(str, size)) for size in (table_size, backbone.table_size))
            lines.append(f"position tables resized from {old} to {new} pixels")
    return {BACKBONE + name: value for name, value in weights.items()}, lines
