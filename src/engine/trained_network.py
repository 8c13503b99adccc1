"""A network with trained weights, built from what its checkpoint says about it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mindspore import Tensor, nn

from ..config import Config
from ..devices.device import set_up_device
from ..errors import UserError
from ..layers.image_size import to_sides
from ..models import get_variant
from ..models.same_network import network_differences
from ..weights.checkpoint import Checkpoint, load_weights, read_checkpoint
from ..weights.fine_tuning import fit_image_size
from ..weights.model_card import ModelCard
from ..weights.resize_weights import resize_weights
from .batch_memory import check_batch_fits
from .build import create_card, network_arguments
from .run_folder import RunFolder


@dataclass(frozen=True)
class TrainedNetwork:
    """A network in evaluation mode.

    Attributes:
        net: images (B, C, H, W) -> logits (B, K).
        card: how it was built, its labels, how its input is prepared.
        settings: what was set on the device, as lines for the user.
        changes: in what it is not as the checkpoint says, as lines for the user.
    """

    net: nn.Cell
    card: ModelCard
    settings: list[str]
    changes: list[str]


def choose_checkpoint(checkpoint: str | None, folder: RunFolder) -> Path:
    """`checkpoint`, or the run's best one when None.

    Raises:
        UserError: the run has none; says how to get one.
    """
    if checkpoint is None and not folder.best.exists():
        raise UserError(
            f"{folder.best} does not exist: train it with 'bash scripts/run_demo.sh' (the demo) or "
            "'python train.py --config FILE', or give --checkpoint FILE"
        )
    return folder.best if checkpoint is None else Path(checkpoint)


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
    return TrainedNetwork(net, card, settings, [*changes, *resized])


def card_of(
    checkpoint: Checkpoint, config: Config, given: Mapping[str, Any], classes: Sequence[str] | None = None
) -> tuple[ModelCard, list[str]]:
    """The description of a checkpoint's network; for files of other programs, which have none, the configuration's.

    Args:
        checkpoint: content of the file.
        config, given: see `as_asked`.
        classes: labels of the data, for files that say nothing; numbers when None.

    Returns:
        The card, and in what it is not the checkpoint's, as lines for the user.

    Raises:
        UserError: as `as_asked` does, or the configuration would have to describe the network and does not.
    """
    if checkpoint.card is not None:
        return as_asked(checkpoint.card, checkpoint.path, config, given)
    card = _card_of_foreign(checkpoint, config, classes)
    return card, [f"{checkpoint.path} does not say what it holds: the configuration does ({card.model})"]


def as_asked(card: ModelCard, path: Path, config: Config, given: Mapping[str, Any]) -> tuple[ModelCard, list[str]]:
    """The description of a file's network, prepared for images as the user asks.

    What a file says about its network is a fact: what asks for another network is refused. The section `model` of a
    configuration counts where `--config` names it or the command line overrides it. An image size given there, and a
    `data.crop_pct` on the command line, are followed, because the weights are the same with them.

    Args:
        card: of the file.
        path: of the file, for messages.
        config: the configuration.
        given: what the command line says itself, `CommandLine.given`.

    Returns:
        The card, and in what it is not the file's, as lines for the user.

    Raises:
        UserError: another network is described.
    """
    _refuse_another_network(path, card, config, given)
    lines = []
    size = given.get("model", {}).get("image_size") or (config.model.image_size if "config" in given else None)
    if size is not None and to_sides(size) != tuple(card.image_size):
        lines.append(
            f"images of {_show(to_sides(size))} pixels, as the configuration says; the file's: {_show(card.image_size)}"
        )
        card = replace(card, image_size=to_sides(size))
    crop_pct = given.get("data", {}).get("crop_pct", card.crop_pct)
    if crop_pct != card.crop_pct:
        lines.append(f"crop_pct {crop_pct:g}, as the command line says; the file's: {card.crop_pct:g}")
        card = replace(card, crop_pct=crop_pct)
    return card, lines


def build_network(card: ModelCard, checkpoint: Checkpoint) -> tuple[nn.Cell, list[str]]:
    """The network of `card` with the weights of `checkpoint`, position tables resized where their image sizes differ.

    Returns:
        The network in evaluation mode, and what was resized, as lines for the user.

    Raises:
        UserError: the weights do not fit, or an image does not into memory.
    """
    check_batch_fits(card, 1)
    net = card.create_network()
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
    net = card.create_network()
    weights = {p.name: p.asnumpy() for p in trained.net.get_parameters()}
    resized, _ = resize_weights(net, weights, trained.card.image_size)
    for parameter in net.get_parameters():
        parameter.set_data(Tensor(resized[parameter.name]))
    return TrainedNetwork(net, card, trained.settings, trained.changes)


def set_up_device_for(card: ModelCard, config: Config) -> list[str]:
    """`set_up_device` for the network of `card`."""
    return set_up_device(config.device, config.seed, get_variant(card.model).network.uses_convolution)


def _refuse_another_network(path: Path, card: ModelCard, config: Config, given: Mapping[str, Any]) -> None:
    """Raises UserError where the configuration, as far as it counts, does not describe the network of `card`."""
    arguments = network_arguments(config.model)
    counts = asdict(config.model)
    if "config" not in given:
        counts = given.get("model", {})
        changes = {key: value for key, value in arguments.items() if key in {*counts, *counts.get("structure", {})}}
        arguments = {**(card.arguments if counts.get("name", card.model) == card.model else {}), **changes}
    differences = network_differences(card.model, card.arguments, counts.get("name", card.model), arguments)
    channels, num_classes = counts.get("in_channels"), counts.get("num_classes")
    if channels not in (None, card.in_channels):
        differences.append(f"in_channels: {card.in_channels} and {channels}")
    if num_classes not in (None, len(card.classes)):
        differences.append(f"num_classes: {len(card.classes)} and {num_classes}")
    if differences:
        source = f"the configuration {given['config']}" if "config" in given else "the command line"
        raise UserError(
            f"{path} holds another network than {source} describes ({'; '.join(differences)}): the file knows its "
            "network: leave that out, or name the file of the other"
        )


def _card_of_foreign(checkpoint: Checkpoint, config: Config, classes: Sequence[str] | None) -> ModelCard:
    if classes is None and config.model.num_classes is None:
        raise UserError(
            f"{checkpoint.path} does not say which network it holds: describe it with --config FILE or --model.name "
            "NAME, and --model.num_classes K"
        )
    if classes is None:
        classes = [str(label) for label in range(config.model.num_classes)]
    return create_card(config, classes)


def _show(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
