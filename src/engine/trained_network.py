"""A network with trained weights, built from what its checkpoint says about it."""

from dataclasses import dataclass, replace
from pathlib import Path

from mindspore import Tensor, nn

from src.checkpoint import load_weights, read_checkpoint
from src.config import Config
from src.engine.build import create_card
from src.engine.device import set_up_device
from src.engine.run_folder import RunFolder
from src.errors import UserError
from src.layers.image_size import to_sides
from src.model_card import ModelCard
from src.models import get_variant
from src.resize_weights import resize_weights


@dataclass(frozen=True)
class TrainedNetwork:
    """A network in evaluation mode.

    Attributes:
        net: images (B, C, H, W) -> logits (B, K).
        card: how it was built, its labels, how its input is prepared.
        settings: what was set on the device, as lines for the user.
    """

    net: nn.Cell
    card: ModelCard
    settings: list[str]


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


def open_trained_network(checkpoint: Path, config: Config) -> TrainedNetwork:
    """Sets the device up and builds the network of a checkpoint.

    The checkpoint's own description decides what is built; for files of other programs, which have none, the section
    `model` of `config` does.

    Raises:
        UserError: the checkpoint cannot be read, describes no network that fits, or the device is not there.
    """
    content = read_checkpoint(checkpoint)
    card = content.card or _card_without_labels(checkpoint, config)
    settings = set_up_device_for(card, config)
    net = card.create_network()
    load_weights(net, content)
    return TrainedNetwork(net, card, settings)


def at_image_size(trained: TrainedNetwork, image_size: int | tuple[int, int]) -> TrainedNetwork:
    """The network for images of another size, its position tables resized; itself when it is of that size.

    Args:
        trained: for its own size.
        image_size: side or (height, width) in pixels.

    Raises:
        UserError: a size that the network does not take.
    """
    size = to_sides(image_size)
    if size == tuple(trained.card.image_size):
        return trained
    card = replace(trained.card, image_size=size)
    net = card.create_network()
    weights = {p.name: p.asnumpy() for p in trained.net.get_parameters()}
    resized, _ = resize_weights(net, weights, trained.card.image_size)
    for parameter in net.get_parameters():
        parameter.set_data(Tensor(resized[parameter.name]))
    return TrainedNetwork(net, card, trained.settings)


def set_up_device_for(card: ModelCard, config: Config) -> list[str]:
    """`set_up_device` for the network of `card`."""
    return set_up_device(config.device, config.seed, get_variant(card.model).network.uses_convolution)


def _card_without_labels(checkpoint: Path, config: Config) -> ModelCard:
    if config.model.num_classes is None:
        raise UserError(
            f"{checkpoint} does not say which network it holds: describe it with --config FILE or --model.name NAME, "
            "and --model.num_classes K"
        )
    return create_card(config, [str(label) for label in range(config.model.num_classes)])
