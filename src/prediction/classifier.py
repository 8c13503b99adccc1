"""A trained network ready to run, from a checkpoint or from an exported file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor

from ..config import Config
from ..engine.batch_memory import check_batch_fits
from ..engine.run_folder import RunFolder
from ..engine.trained_network import as_asked, choose_checkpoint, open_trained_network, set_up_device_for
from ..errors import UserError
from ..export.exported_file import ENDINGS, LOGITS, load_exported, read_key, read_sidecar
from ..weights.model_card import ModelCard

BATCH_SIZE = 16


@dataclass(frozen=True)
class Classifier:
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
        fixed = self.fixed_batch_size
        if wanted is not None and wanted < 1:
            raise UserError(f"batch_size: expected at least 1, got {wanted}")
        if fixed is not None and wanted not in (None, fixed):
            raise UserError(f"batch_size: the model file takes {fixed} images at a time, got {wanted}")
        size = min(wanted or BATCH_SIZE, num_images) if fixed is None else fixed
        check_batch_fits(self.card, size)
        return size


def open_classifier(
    model_file: str | None,
    key_file: str | None,
    checkpoint: str | None,
    config: Config,
    given: Mapping[str, Any],
    folder: RunFolder,
) -> Classifier:
    """What the options of a command name: an exported file, perhaps with its key, a checkpoint, or the run's best one.

    `given` is what the command line says itself, see `card_of`.

    Raises:
        UserError: options that exclude each other, or as `open_model_file` and `open_checkpoint` do.
    """
    if model_file is not None and checkpoint is not None:
        raise UserError("--model_file and --checkpoint were both given: give one of them")
    if model_file is None and key_file is not None:
        raise UserError("--decrypt_key_file is for an encrypted file: add --model_file FILE.mindir")
    if model_file is None:
        return open_checkpoint(choose_checkpoint(checkpoint, folder), config, given)
    return open_model_file(Path(model_file), config, None if key_file is None else read_key(key_file), given)


def open_checkpoint(path: Path, config: Config, given: Mapping[str, Any] | None = None) -> Classifier:
    """Raises: UserError, as `open_trained_network` does."""
    trained = open_trained_network(path, config, given)
    return Classifier(lambda images: trained.net(Tensor(images)).asnumpy(), trained.card, changes=trained.changes)


def open_model_file(
    path: Path, config: Config, key: bytes | None = None, given: Mapping[str, Any] | None = None
) -> Classifier:
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
    if sidecar.encryption is not None and key is None:
        raise UserError(f"{path} is encrypted: add --decrypt_key_file FILE with the key it was exported with")
    if sidecar.encryption is None and key is not None:
        raise UserError(f"{path} is not encrypted: leave --decrypt_key_file out")
    if path.suffix == ENDINGS["ONNX"] and config.device not in (None, "CPU"):
        raise UserError(f"{path}: ONNX files run on CPU here, got --device {config.device}; use a MINDIR file for it")
    card, changes = as_asked(sidecar.card, path, config, given or {})
    if card.image_size != sidecar.card.image_size:
        raise UserError(f"{path} takes no other images: {changes[0]}; export a file for them with --image_size")
    set_up_device_for(card, config)
    return Classifier(load_exported(path, key), card, sidecar.batch_size, sidecar.takes_pixels, changes)
