"""A network with trained weights, built from what its checkpoint says about it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mindspore import Tensor, nn
from mindspore.nn.utils import no_init_parameters

from ..config import Config
from ..data.val_split import trained_on
from ..devices.device import set_up_device
from ..layers.image_size import to_sides
from ..models import get_variant
from ..weights.checkpoint import Checkpoint, read_checkpoint
from ..weights.described_network import create_network
from ..weights.fine_tuning import fit_image_size
from ..weights.loading import load_weights
from ..weights.model_card import ModelCard
from ..weights.resize_weights import resize_weights
from .batch_memory import check_batch_fits
from .configured_card import card_of


@dataclass(frozen=True)
class TrainedNetwork:
    """A network in evaluation mode.

    Attributes:
        net: images (B, C, H, W) -> logits (B, K).
        card: how it was built, its labels, how its input is prepared.
        settings: what was set on the device, as lines for the user.
        changes: in what it is not as the checkpoint says, as lines for the user.
        path: of the checkpoint.
        trained_on: what that says about its training images, see `src.data.val_split.trained_on`.
    """

    net: nn.Cell
    card: ModelCard
    settings: list[str]
    changes: list[str]
    path: Path
    trained_on: dict[str, Any] | None


def open_trained_network(checkpoint: Path, config: Config, given: Mapping[str, Any] | None = None) -> TrainedNetwork:
    """Sets the device up and builds the network of a checkpoint.

    Args:
        checkpoint: the file.
        config: chooses the device, and see `card_of`.
        given: see `card_of`.

    Raises:
        UserError: the checkpoint cannot be read, `card_of` refuses it, or the device is not there.
    """
    content = read_checkpoint(checkpoint)
    card, changes = card_of(content, config, given or {})
    settings = set_up_device_for(card, config)
    net, resized = build_network(card, content)
    return TrainedNetwork(net, card, settings, [*changes, *resized], checkpoint, trained_on(content.progress))


def build_network(card: ModelCard, checkpoint: Checkpoint) -> tuple[nn.Cell, list[str]]:
    """The network of `card` with the weights of `checkpoint`, position tables resized where their image sizes differ.

    Returns:
        The network in evaluation mode, and what was resized, as lines for the user.

    Raises:
        UserError: the weights do not fit, or an image does not into memory.
    """
    check_batch_fits(card, 1)
    with no_init_parameters():  # the checkpoint's take their place
        net = create_network(card)
    weights, resized = fit_image_size(net, checkpoint)
    load_weights(net, replace(checkpoint, weights=weights))
    return net, resized


def at_image_size(trained: TrainedNetwork, image_size: int | tuple[int, int]) -> TrainedNetwork:
    """The network for images of another size, its position tables resized; itself when it is of that size.

    Args:
        trained: for its own size.
        image_size: side or (height, width) in pixels.

    Raises:
        UserError: a size that the network does not take, or that memory does not.
    """
    size = to_sides(image_size)
    if size == tuple(trained.card.image_size):
        return trained
    card = replace(trained.card, image_size=size)
    check_batch_fits(card, 1)
    with no_init_parameters():
        net = create_network(card)
    weights = {p.name: p.asnumpy() for p in trained.net.get_parameters()}
    resized, _ = resize_weights(net, weights, trained.card.image_size)
    for parameter in net.get_parameters():
        parameter.set_data(Tensor(resized[parameter.name]))
    return replace(trained, net=net, card=card)


def set_up_device_for(card: ModelCard, config: Config) -> list[str]:
    """`set_up_device` for the network of `card`."""
    return set_up_device(config.device, config.seed, get_variant(card.model).network.uses_convolution)
