"""Whether a batch of images, and what the network makes of it, can fit into the machine's memory."""

from ..compilation.mixed_precision import HALF_TYPES
from ..config import Config
from ..detection import memory_need as of_detectors
from ..devices.device import current_device
from ..errors import counted
from ..memory import check_fits
from ..models import get_variant, resolve_arguments
from ..models.memory_need import num_activations
from ..weights.detector_card import DetectorCard
from ..weights.model_card import ModelCard

_COPIES = 2  # of a batch: the one that is being made, and the one that the network works on
_IN_TRAINING, _IN_EVALUATION = 1.5, 0.35  # of all `num_activations`; less than was measured
_OF_DETECTORS_IN_TRAINING = 2.2  # of theirs: 3.0 were measured of RetinaNet
_OF_REGIONS_IN_TRAINING = 1.5  # of `num_of_regions`
_OF_A_WEIGHT = 4  # itself, its derivative, two moments


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
    batch = f"{counted(batch_size, 'image')} of {card.in_channels} channels and {height} x {width} pixels"
    advice = "lower the batch size or the image size"
    numbers = _COPIES * card.in_channels * height * width
    check_fits(4 * batch_size * numbers, batch, advice)
    if current_device() == "CPU":  # the memory of another device is its own
        arguments = resolve_arguments(card.model, {**card.arguments, "image_size": card.image_size})
        blocks = num_activations(get_variant(card.model).network, arguments)
        numbers += max(share * sum(blocks), max(blocks))
        check_fits(4 * batch_size * numbers, f"{card.model} with {batch}", advice)


def check_detector_fits(card: DetectorCard, config: Config, is_trained: bool, max_objects: int = 0) -> None:
    """The same for a batch on a detector's canvas, in training or in evaluation.

    Counted are the parts of `num_activations` and `num_of_regions` in src/detection/memory_need.py, in training also
    the weights with what the optimizer keeps, and the masks of the objects. Recomputing saves nothing on CPU, see
    docs/performance.md.

    Args:
        card: describes the detector.
        config: of the run.
        is_trained: or evaluated.
        max_objects: that an image of the training data has.
    """
    height, width = card.canvas
    batch_size, training = config.train.batch_size, config.train
    batch = f"{counted(batch_size, 'image')} on a canvas of {height} x {width} pixels"
    advice = "lower train.batch_size or the canvas, model.image_size"
    numbers = _COPIES * 3 * height * width
    check_fits(4 * batch_size * numbers, batch, advice)
    if current_device() != "CPU":
        return
    parts = of_detectors.num_activations(card.model, card.arguments, card.canvas, len(card.classes), is_trained)
    regions = of_detectors.num_of_regions(card.model, card.arguments, len(card.classes), is_trained)
    share = region_share = _IN_EVALUATION
    weights = 0
    if is_trained:
        halves = 2 if training.precision in HALF_TYPES else 1
        share, region_share = _OF_DETECTORS_IN_TRAINING / halves, _OF_REGIONS_IN_TRAINING / halves
        numbers += of_detectors.num_mask_targets(card.model, card.arguments, card.canvas, max_objects)
        weights = _OF_A_WEIGHT * of_detectors.num_weights(card.model, card.arguments)
    numbers += max(share * sum(parts) + region_share * sum(regions), max(parts + regions))
    check_fits(4 * (batch_size * numbers + weights), f"{card.model} with {batch}", advice)
