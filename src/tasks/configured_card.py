"""The card that a configuration describes, and what a file says about its network beside what a user asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from ..config import Config, ModelConfig
from ..config.config_file import STRUCTURE
from ..config.former_names import current_names
from ..errors import UserError
from ..layers.image_size import to_sides
from ..models.same_network import network_differences
from ..weights.checkpoint import Checkpoint
from ..weights.described_network import check_card, describe_variant
from ..weights.detector_card import DetectorCard
from ..weights.model_card import ModelCard


def create_card(config: Config, classes: Sequence[str]) -> ModelCard:
    """Describes the network of `config` for data with the labels `classes`.

    Raises:
        UserError: `model.num_classes` is given and differs from the number of labels, or the variant is unknown.
    """
    model = config.model
    if model.num_classes not in (None, len(classes)):
        raise UserError(f"model.num_classes is {model.num_classes}, but the data has {len(classes)} classes")
    return describe_variant(
        model.name,
        network_arguments(model),
        classes,
        model.image_size,
        model.in_channels,
        config.data.crop_pct,
    )


def network_arguments(model: ModelConfig) -> dict[str, Any]:
    """The constructor arguments with which `model` makes its variant another network.

    Raises:
        UserError: see `own_structure`.
    """
    return {**({"se": True} if model.se else {}), **own_structure(model)}


def own_structure(model: ModelConfig) -> dict[str, Any]:
    """`model.structure`.

    Raises:
        UserError: it holds what is a key of its own.
    """
    for key in sorted({field.name for field in fields(ModelConfig)} & set(model.structure)):
        raise UserError(f"model.structure.{key}: give it as model.{key}")
    return current_names(model.structure, STRUCTURE)


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
    if isinstance(checkpoint.card, DetectorCard):
        raise UserError(f"{checkpoint.path} holds a detector, {checkpoint.card.model}: expected a network of one label")
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
    check_card(card, path)
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
