"""Whether a batch of images, and what the network makes of it, can fit into the machine's memory."""

from ..compilation.mixed_precision import HALF_TYPES
from ..config import Config
from ..devices.device import current_device
from ..memory import check_fits
from ..models import get_variant, resolve_arguments
from ..models.memory_need import num_activations
from ..weights.model_card import ModelCard

_COPIES = 2  # of a batch: the one that is being made, and the one that the network works on
_IN_TRAINING, _IN_EVALUATION = 1.5, 0.35  # of all `num_activations`; less than was measured


def check_batch_fits(card: ModelCard, batch_size: int) -> None:
    """Refuses, before anything of it is made, a batch that cannot fit in evaluation.

    Args:
        card: describes the network.
        batch_size: images.

    Raises:
        UserError: it takes more memory than there is.
    """
    _check(card, batch_size, _IN_EVALUATION)


def check_training_fits(card: ModelCard, config: Config) -> None:
    """The same for a batch of training as `config` has it."""
    train = config.train
    share = _IN_EVALUATION if train.recompute else _IN_TRAINING
    _check(card, train.batch_size, share / 2 if train.precision in HALF_TYPES else share)


def _check(card: ModelCard, batch_size: int, share: float) -> None:
    height, width = card.image_size
    batch = f"{batch_size} images of {card.in_channels} channels and {height} x {width} pixels"
    advice = "lower the batch size or the image size"
    numbers = _COPIES * card.in_channels * height * width
    check_fits(4 * batch_size * numbers, batch, advice)
    if current_device() == "CPU":  # the memory of another device is its own
        arguments = resolve_arguments(card.model, {**card.arguments, "image_size": card.image_size})
        blocks = num_activations(get_variant(card.model).network, arguments)
        numbers += max(share * sum(blocks), max(blocks))
        check_fits(4 * batch_size * numbers, f"{card.model} with {batch}", advice)
