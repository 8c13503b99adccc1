"""Starting from another run's weights: which are taken over, which stay fixed, and how fast each layer learns."""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from mindspore import nn

from ..data.labels import are_placeholders, common_labels, count_of, named
from ..errors import UserError, nearest
from ..layers.norm import BatchNorm2d
from ..models.same_network import network_differences
from .checkpoint import Checkpoint
from .described_network import check_card
from .detector_card import DetectorCard
from .loading import load_weights
from .model_card import ModelCard
from .resize_weights import resize_weights

_BACKBONE = "backbone."
"""Begins the names of a detector's backbone."""

_BLOCK = re.compile(r"(?:stages\.(\d+)\.)?blocks\.(\d+)\.")
_STAGE = re.compile(r"stages\.(\d+)\.|(?:word|sentence)_merges\.(\d+)\.")


def load_initial_weights(
    net: nn.Cell, checkpoint: Checkpoint, card: ModelCard, init_head: str = "by_name"
) -> list[str]:
    """Fills `net` from a checkpoint of the same network, maybe for other classes or another image size.

    Position tables of another image size are resized. The head's rows go by the names of their labels: those of labels
    that the checkpoint does not know keep their random weights, and all do where it knows none. Labels that it numbers
    only are the run's, in their order, where there are as many. Everything else must fit.

    Args:
        net: the network to train.
        checkpoint: of this project (its own description tells its image size and labels) or of another program (for
            the network's own image size, with numbered labels).
        card: describes `net`.
        init_head: 'by_name'; or 'as_is' to take the head over as it stands, whatever its labels are.

    Returns:
        What was left out and resized, as lines for the log.

    Raises:
        UserError: any other difference, or a head of another size that is to be taken over as it stands; the network is
            unchanged.
    """
    if isinstance(checkpoint.card, DetectorCard):
        raise UserError(
            f"{checkpoint.path} holds a detector, {checkpoint.card.model}: start from a classifier's weights"
        )
    if checkpoint.card is not None:
        there = checkpoint.card
        check_card(there, checkpoint.path)
        if differences := network_differences(there.model, there.arguments, card.model, card.arguments):
            raise UserError(
                f"{checkpoint.path} holds another network than this run trains ({'; '.join(differences)}): make the "
                "run's section 'model' that of the checkpoint"
            )
    weights, lines = fit_image_size(net, checkpoint)
    parameters = {p.name: p for p in net.get_parameters()}
    head = [name for name in parameters if name.startswith("head.") and name in weights]
    if head:
        sizes = {name: (weights[name].shape, tuple(parameters[name].shape)) for name in head}
        if any(there[1:] != here[1:] for there, here in sizes.values()):
            outputs, line = {}, "the head starts anew: the checkpoint's has another width"
        else:
            outputs, line = _rows(checkpoint, len(weights[head[0]]), card.classes, init_head)
        lines += [line] if line else []
        for name in head:
            rows = parameters[name].asnumpy().copy()
            rows[list(outputs)] = weights[name][list(outputs.values())]
            weights[name] = rows
    load_weights(net, replace(checkpoint, weights=weights))
    return lines


def _rows(
    checkpoint: Checkpoint, num_rows: int, classes: Sequence[str], init_head: str
) -> tuple[dict[int, int], str | None]:
    """Row of the run's head -> that of the checkpoint's which it takes over; and a line unless all labels are equal."""
    there = [str(number) for number in range(num_rows)] if checkpoint.card is None else checkpoint.card.classes
    as_it_stands = dict(zip(range(len(classes)), range(len(classes)), strict=True))
    if list(there) == list(classes):
        return as_it_stands, None
    if init_head == "as_is":
        if num_rows != len(classes):
            raise UserError(
                f"init_head is 'as_is', but the head of {checkpoint.path} has {num_rows} classes and the data "
                f"{len(classes)}: leave init_head out"
            )
        return as_it_stands, f"the head is taken over as it stands; the checkpoint's labels: {named(there)}"
    found = common_labels(there, classes)
    if are_placeholders(there) and num_rows == len(classes) > len(found):
        return as_it_stands, (
            f"the checkpoint numbers its {num_rows} labels and does not name them: the head is taken over for the "
            f"data's labels in their order ({named(classes)})"
        )
    new = [label for number, label in enumerate(classes) if number not in found]
    if not found:
        return {}, (
            f"the head starts anew: none of the data's {count_of(classes)} ({named(classes)}) is among the "
            f"{len(there)} of the checkpoint ({named(there)})"
        )
    line = f"the head is taken over by name for {len(found)} of the data's {count_of(classes)}"
    return found, line if not new else f"{line}; it starts anew for {named(new)}"


def fit_image_size(net: nn.Cell, checkpoint: Checkpoint) -> tuple[dict[str, np.ndarray], list[str]]:
    """The checkpoint's weights with position tables for the image size of `net`, and what was resized as log lines."""
    if checkpoint.card is None:
        return dict(checkpoint.weights), []
    weights, old_shapes = resize_weights(net, checkpoint.weights, checkpoint.card.image_size)
    return weights, [f"resized {name}: {shape} to {weights[name].shape}" for name, shape in old_shapes.items()]


def freeze(net: nn.Cell, patterns: Sequence[str]) -> list[str]:
    """Keeps the parameters whose names match any of the shell-style `patterns` at their values.

    That includes the running statistics of batch norms: where they, or both gain and bias, match, the batch norm
    normalises with them in training too.

    Returns:
        How many each pattern froze, as lines for the log.

    Raises:
        UserError: a pattern that matches nothing, or nothing left to train.
    """
    names = [p.name for p in net.get_parameters()]
    lines, frozen = [], set()
    for pattern in patterns:
        matching = set(fnmatch.filter(names, pattern))
        if not matching:
            raise UserError(f"freeze: no parameter matches {pattern!r}; {nearest(pattern, names)}")
        for parameter in net.get_parameters():
            if parameter.name in matching:
                parameter.requires_grad = False
        frozen |= matching
        lines.append(f"froze {len(matching)} parameters that match {pattern}")
    for _, cell in net.cells_and_names():
        if isinstance(cell, BatchNorm2d):
            learned, statistics = {cell.gamma.name, cell.beta.name}, {cell.moving_mean.name, cell.moving_variance.name}
            if learned <= frozen or statistics & frozen:
                cell.freeze_statistics()
    if not net.trainable_params():
        raise UserError(f"freeze: {' '.join(patterns)} leaves nothing to train")
    return lines


def layer_numbers(net: nn.Cell) -> dict[str, int]:
    """Depth of every parameter: 0 for embeddings and position tables, 1 for the first block and so on; the final norm
    and the head, and everything behind the backbone of a detector, are one deeper than the last block. What merges or
    is shared in a stage is as deep as its first block.
    """
    of_names = {p.name: p.name.removeprefix(_BACKBONE) for p in net.get_parameters()}
    has_backbone = any(name != inner for name, inner in of_names.items())
    blocks = sorted({_block(inner) for inner in of_names.values()} - {None})
    numbers = {}
    for name, inner in of_names.items():
        numbers[name] = len(blocks) + 1 if has_backbone and name == inner else _number(inner, blocks)
    return numbers


def _number(name: str, blocks: list[tuple[int, int]]) -> int:
    """Depth of a parameter of a classifier or a backbone, whose blocks these are."""
    block, stage = _block(name), _STAGE.match(name)
    if block is not None:
        return blocks.index(block) + 1
    if stage is not None:
        index = int(stage.group(1)) if stage.group(1) else int(stage.group(2)) + 1
        return blocks.index((index, 0)) + 1
    return len(blocks) + 1 if name.startswith(("norm.", "head.")) else 0


def lr_scales(net: nn.Cell, layer_decay: float = 1.0, backbone_lr_scale: float = 1.0) -> dict[str, float]:
    """Factor on the learning rate of every trainable parameter.

    Args:
        net: the network.
        layer_decay: factor from each layer to the one below it; the head has 1.
        backbone_lr_scale: further factor on everything but the head; of a detector on its backbone.

    Source: layer-wise decay as in BEiT (Bao et al., 2021), appendix; backbone scale as T2T-ViT's transfer recipe.
    """
    numbers = layer_numbers(net)
    deepest = max(numbers.values())
    is_detector = any(name.startswith(_BACKBONE) for name in numbers)
    scales = {}
    for name in (p.name for p in net.trainable_params()):
        is_backbone = name.startswith(_BACKBONE) if is_detector else not name.startswith("head.")
        scales[name] = layer_decay ** (deepest - numbers[name]) * (backbone_lr_scale if is_backbone else 1.0)
    return scales


def _block(name: str) -> tuple[int, int] | None:
    match = _BLOCK.match(name)
    return None if match is None else (int(match.group(1) or 0), int(match.group(2)))
