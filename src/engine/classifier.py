"""A trained network ready to run, from a checkpoint or from an exported file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mindspore import Tensor

from src.config import Config
from src.engine.trained_network import open_trained_network, set_up_device_for
from src.errors import UserError
from src.exported_file import load_exported, read_sidecar
from src.model_card import ModelCard

BATCH_SIZE = 16


@dataclass(frozen=True)
class Classifier:
    """Wherever the network comes from.

    Attributes:
        run: images (B, in_channels, H, W) float32 -> logits (B, K) float32.
        card: labels, and how images are prepared.
        fixed_batch_size: the only B that `run` takes; None for any.
    """

    run: Callable[[np.ndarray], np.ndarray]
    card: ModelCard
    fixed_batch_size: int | None = None

    def batch_size(self, wanted: int | None, num_images: int) -> int:
        """Images a step: what is `wanted`, or 16, but no more than there are; or the fixed one.

        Raises:
            UserError: another one is wanted than the fixed one, or none at all.
        """
        fixed = self.fixed_batch_size
        if wanted is not None and wanted < 1:
            raise UserError(f"batch_size: expected at least 1, got {wanted}")
        if fixed is None:
            return min(wanted or BATCH_SIZE, num_images)
        if wanted not in (None, fixed):
            raise UserError(f"batch_size: the model file takes {fixed} images at a time, got {wanted}")
        return fixed


def open_checkpoint(path: Path, config: Config) -> Classifier:
    """Raises: UserError, as `open_trained_network` does."""
    trained = open_trained_network(path, config)
    return Classifier(lambda images: trained.net(Tensor(images)).asnumpy(), trained.card)


def open_model_file(path: Path, config: Config) -> Classifier:
    """Raises: UserError, as `read_sidecar` and `load_exported` do, or the device is not there."""
    sidecar = read_sidecar(path)
    set_up_device_for(sidecar.card, config)
    return Classifier(load_exported(path), sidecar.card, sidecar.batch_size)
