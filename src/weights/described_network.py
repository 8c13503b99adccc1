"""The network that a card describes."""

from collections.abc import Sequence
from typing import Any

from mindspore import nn

from ..errors import UserError
from ..layers.image_size import to_sides
from ..models import create_model, get_variant
from ..models.arguments import check_arguments
from .model_card import ModelCard


def create_network(card: ModelCard) -> nn.Cell:
    """The network of `card` with random weights, in evaluation mode.

    Raises:
        UserError: there is no such network, or it takes more memory than there is.
    """
    return create_model(card.model, **card.network_arguments()).set_train(False)


def check_card(card: ModelCard, where: object) -> None:
    """Refuses a card that describes no network of this project.

    Args:
        card: what a file says.
        where: names the file.

    Raises:
        UserError: no such variant, or arguments that it does not have or cannot be given.
    """
    try:
        check_arguments(card.model, card.network_arguments())
    except UserError as error:
        raise UserError(f"{where}: its description of the network cannot be used: {error}") from error


def describe_variant(
    model: str,
    arguments: dict[str, Any],
    classes: Sequence[str],
    image_size: int | Sequence[int] | None = None,
    in_channels: int = 3,
    crop_pct: float | None = None,
) -> ModelCard:
    """The card of a variant for given labels; what is None is as the variant is published.

    Mean and std are the variant's, for another number of channels their mean over its channels.

    Args:
        model: one of `list_models()`.
        arguments: constructor arguments that differ from the variant's.
        classes: label names in the order of the logits.
        image_size: side or (height, width) in pixels.
        in_channels: channels of the input image.
        crop_pct: side of the centre crop as a share of the resized short side.

    Raises:
        UserError: no such variant, or values that cannot be.
    """
    variant = get_variant(model)
    mean, std = variant.mean, variant.std
    if in_channels != len(mean):
        mean, std = ((sum(values) / len(values),) * in_channels for values in (mean, std))
    card = ModelCard(
        model=model,
        arguments=dict(arguments),
        classes=list(classes),
        image_size=to_sides(image_size or variant.image_size),
        in_channels=in_channels,
        mean=mean,
        std=std,
        crop_pct=variant.crop_pct if crop_pct is None else crop_pct,
    )
    check_arguments(model, card.network_arguments())
    return card
