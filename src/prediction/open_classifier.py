"""A trained network ready to run, from a checkpoint or from an exported file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor

from ..compilation.shared_graphs import share_graphs
from ..config import Config
from ..errors import UserError
from ..export.exported_file import LOGITS, check_key, load_exported, read_sidecar
from ..export.file_names import ENDINGS
from ..tasks.batch_memory import check_batch_fits
from ..tasks.configured_card import as_asked, card_of
from ..tasks.trained_network import build_network, set_up_device_for
from ..weights.checkpoint import Checkpoint, read_checkpoint
from ..weights.model_card import ModelCard
from .batch_size import choose_batch_size

BATCH_SIZE = 16


@dataclass(frozen=True)
class OpenClassifier:
    """Wherever the network comes from.

    Attributes:
        run: images (B, in_channels, H, W) float32, or pixels (B, H, W, in_channels) uint8 -> logits (B, K) float32.
        card: labels, and how images are prepared.
        fixed_batch_size: the only B that `run` takes; None for any.
        takes_pixels: `run` normalises by itself, and takes pixels.
        changes: in what it is not as its file says, as lines for the user.
    """

    run: Callable[[np.ndarray], np.ndarray]
    card: ModelCard
    fixed_batch_size: int | None = None
    takes_pixels: bool = False
    changes: Sequence[str] = ()

    def batch_size(self, wanted: int | None, num_images: int) -> int:
        """Images a step: what is `wanted`, or 16, but no more than there are; or the fixed one.

        Raises:
            UserError: another one is wanted than the fixed one, or none at all, or they cannot fit into memory.
        """
        size = choose_batch_size(wanted, self.fixed_batch_size, BATCH_SIZE, num_images)
        check_batch_fits(self.card, size)
        return size


def open_checkpoint(path: Path, config: Config, given: Mapping[str, Any] | None = None) -> OpenClassifier:
    """Raises: UserError, as `read_checkpoint` and `create_classifier` do."""
    return create_classifier(read_checkpoint(path), config, given)


def create_classifier(checkpoint: Checkpoint, config: Config, given: Mapping[str, Any] | None = None) -> OpenClassifier:
    """The network of a checkpoint, on the device.

    Args:
        checkpoint: content of the file.
        config: chooses the device, and see `card_of`.
        given: what the command line says itself, see `card_of`.

    Raises:
        UserError: `card_of` refuses it, its weights do not fit, or the device is not there.
    """
    card, changes = card_of(checkpoint, config, given or {})
    set_up_device_for(card, config)
    net, resized = build_network(card, checkpoint)
    share_graphs(net)
    return OpenClassifier(lambda images: net(Tensor(images)).asnumpy(), card, changes=[*changes, *resized])


def open_model_file(
    path: Path, config: Config, key: bytes | None = None, given: Mapping[str, Any] | None = None
) -> OpenClassifier:
    """An exported file that gives logits, ready to run.

    Args:
        path: MINDIR or ONNX file with its sidecar.
        config: chooses the device.
        key: decrypts the file.
        given: what the command line says itself, see `as_asked`.

    Raises:
        UserError: as `read_sidecar` and `load_exported` do, the file gives other things than logits, its key is missing
            or not needed, another network or image size than the file's is asked for, or the device is not there.
    """
    if path.suffix == ENDINGS["AIR"]:
        raise UserError(f"{path}: MindSpore cannot load AIR files, only write them; use a MINDIR or ONNX file")
    sidecar = read_sidecar(path)
    if sidecar.content != LOGITS:
        raise UserError(f"{path} gives {sidecar.content}, predictions need {LOGITS}; export without --stages")
    check_key(path, sidecar.encryption, key)
    if path.suffix == ENDINGS["ONNX"] and config.device not in (None, "CPU"):
        raise UserError(f"{path}: ONNX files run on CPU here, got --device {config.device}; use a MINDIR file for it")
    card, changes = as_asked(sidecar.card, path, config, given or {})
    if card.image_size != sidecar.card.image_size:
        raise UserError(f"{path} takes no other images: {changes[0]}; export a file for them with --image_size")
    set_up_device_for(card, config)
    return OpenClassifier(load_exported(path, key), card, sidecar.batch_size, sidecar.takes_pixels, changes)
