"""A checkpoint of this project in one call: for use in Python."""

from collections.abc import Sequence
from pathlib import Path

from mindspore import nn

from ..config import Config
from ..devices.device import set_up_device
from ..errors import UserError
from ..models.feature_extractor import FeatureExtractor
from ..weights.checkpoint import Checkpoint, read_checkpoint
from ..weights.described_network import check_card
from ..weights.detector_card import DetectorCard
from ..weights.model_card import ModelCard
from .configured_detector import detector_card_of
from .detection import Detection
from .trained_network import build_network


def load_checkpoint(path: str | Path, device: str | None = None) -> tuple[nn.Cell, ModelCard | DetectorCard]:
    """The network of a checkpoint, classifier or detector, with its weights and in evaluation mode.

    Sets the device up as `set_up_device` does: graph mode. Random numbers are left alone.

    Args:
        path: a file that `train.py`, `convert.py`, `average.py` or `save_checkpoint` wrote.
        device: 'CPU', 'GPU' or 'Ascend'; None takes the first of Ascend, GPU, CPU that is there.

    Returns:
        The network, and what it is: labels, size and normalisation of its input.

    Raises:
        UserError: the file cannot be read or does not say what it holds, its weights do not fit, or the device is not
            there.
    """
    checkpoint = read_described(path)
    card = checkpoint.card
    set_up_device(device)
    if isinstance(card, DetectorCard):
        config = Config()
        card, _ = detector_card_of(checkpoint, config, {})
        return Detection(config, card).load_network(checkpoint)[0], card
    check_card(card, checkpoint.path)
    return build_network(card, checkpoint)[0], card


def load_feature_extractor(
    path: str | Path, stages: Sequence[int] | None = None, device: str | None = None
) -> tuple[FeatureExtractor, ModelCard]:
    """The stage maps of a classifier's checkpoint, in evaluation mode.

    Args:
        path, device: as in `load_checkpoint`.
        stages: as in `FeatureExtractor`.

    Returns:
        The feature extractor, and the card of its network.

    Raises:
        UserError: as `load_checkpoint` and `FeatureExtractor` do, or the file holds a detector.
    """
    net, card = load_checkpoint(path, device)
    if isinstance(card, DetectorCard):
        raise UserError(f"{path} holds a detector, {card.model}: expected a classifier")
    return FeatureExtractor(net, stages).set_train(False), card


def read_described(path: str | Path) -> Checkpoint:
    """A checkpoint that says which network it holds.

    Raises:
        UserError: as `read_checkpoint` does, or it does not say so.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.card is None:
        raise UserError(
            f"{path} does not say which network it holds: expected a checkpoint of this project; build the network "
            "with create_model and fill it with load_weights"
        )
    return checkpoint
