"""Starting from another run's weights: which are taken over, which stay fixed, and how fast each layer learns."""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from mindspore import nn

from src.checkpoint import Checkpoint, load_weights
from src.errors import UserError, nearest
from src.resize_weights import resize_weights

_BLOCK = re.compile(r"(?:stages\.(\d+)\.)?blocks\.(\d+)\.")
_STAGE = re.compile(r"stages\.(\d+)\.|(?:word|sentence)_merges\.(\d+)\.")


def load_initial_weights(net: nn.Cell, checkpoint: Checkpoint) -> list[str]:
    """Fills `net` from a checkpoint of the same network, maybe for other classes or another image size.

    A head of another number of classes keeps its random weights; a head of the same number is taken over. Position
    tables of another image size are resized. Everything else must fit.

    Args:
        net: the network to train.
        checkpoint: of this project (its own description tells its image size) or of another program (for the network's
            own image size).

    Returns:
        What was left out and resized, as lines for the log.

    Raises:
        UserError: any other difference; the network is unchanged.
    """
    weights, lines = fit_image_size(net, checkpoint)
    parameters = {p.name: p for p in net.get_parameters()}
    head = [name for name in parameters if name.startswith("head.")]
    if any(name in weights and weights[name].shape != parameters[name].shape for name in head):
        for name in head:
            if name in weights:
                lines.append(f"left out {name}: {weights[name].shape}, this run needs {parameters[name].shape}")
            weights[name] = parameters[name].asnumpy()
    load_weights(net, replace(checkpoint, weights=weights))
    return lines


def fit_image_size(net: nn.Cell, checkpoint: Checkpoint) -> tuple[dict[str, np.ndarray], list[str]]:
    """The checkpoint's weights with position tables for the image size of `net`, and what was resized as log lines."""
    if checkpoint.card is None:
        return dict(checkpoint.weights), []
    weights, old_shapes = resize_weights(net, checkpoint.weights, checkpoint.card.image_size)
    return weights, [f"resized {name}: {shape} to {weights[name].shape}" for name, shape in old_shapes.items()]


def freeze(net: nn.Cell, patterns: Sequence[str]) -> list[str]:
    """Keeps the parameters whose names match any of the shell-style `patterns` at their values.

    Returns:
        How many each pattern froze, as lines for the log.

    Raises:
        UserError: a pattern that matches nothing, or nothing left to train.
    """
    names = [p.name for p in net.get_parameters()]
    lines = []
    for pattern in patterns:
        matching = set(fnmatch.filter(names, pattern))
        if not matching:
            raise UserError(f"freeze: no parameter matches {pattern!r}; {nearest(pattern, names)}")
        for parameter in net.get_parameters():
            if parameter.name in matching:
                parameter.requires_grad = False
        lines.append(f"froze {len(matching)} parameters that match {pattern}")
    if not net.trainable_params():
        raise UserError(f"freeze: {' '.join(patterns)} leaves nothing to train")
    return lines


def layer_numbers(net: nn.Cell) -> dict[str, int]:
    """Depth of every parameter: 0 for embeddings and position tables, 1 for the first block and so on; the final norm
    and the head are one deeper than the last block. What merges or is shared in a stage is as deep as its first block.
    """
    names = [p.name for p in net.get_parameters()]
    blocks = sorted({_block(name) for name in names} - {None})
    numbers = {}
    for name in names:
        block, stage = _block(name), _STAGE.match(name)
        if block is not None:
            numbers[name] = blocks.index(block) + 1
        elif stage is not None:
            index = int(stage.group(1)) if stage.group(1) else int(stage.group(2)) + 1
            numbers[name] = blocks.index((index, 0)) + 1
        else:
            numbers[name] = len(blocks) + 1 if name.startswith(("norm.", "head.")) else 0
    return numbers


def lr_scales(net: nn.Cell, layer_decay: float = 1.0, backbone_lr_scale: float = 1.0) -> dict[str, float]:
    """Factor on the learning rate of every trainable parameter.

    Args:
        net: the network.
        layer_decay: factor from each layer to the one below it; the head has 1.
        backbone_lr_scale: further factor on everything but the head.

    Source: layer-wise decay as in BEiT (Bao et al., 2021), appendix; backbone scale as T2T-ViT's transfer recipe.
    """
    numbers = layer_numbers(net)
    deepest = max(numbers.values())
    return {
        p.name: layer_decay ** (deepest - numbers[p.name]) * (1.0 if p.name.startswith("head.") else backbone_lr_scale)
        for p in net.trainable_params()
    }


def _block(name: str) -> tuple[int, int] | None:
    match = _BLOCK.match(name)
    return None if match is None else (int(match.group(1) or 0), int(match.group(2)))
