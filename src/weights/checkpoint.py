"""Checkpoints: arrays by bare parameter names, and a description of the network.

NumPy only. Whether they fit a network is found out where one is built, see `src.weights.loading`.
"""

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import UserError, shown, writing_error
from ..files.json_file import from_json
from ..files.whole_file import whole_file
from .checkpoint_file import DamagedCheckpointError, read_checkpoint_file, write_checkpoint_file
from .detector_card import DetectorCard
from .model_card import ModelCard
from .training_progress import check_progress

__all__ = ["Checkpoint", "DamagedCheckpointError", "read_checkpoint", "save_checkpoint"]

_METADATA = "metadata"
_FORMAT = 1
_STATE_PREFIX = "training_state/"


@dataclass
class Checkpoint:
    """The content of a file.

    Attributes:
        path: where it was read.
        weights: the network's parameters by their bare names.
        state: what training needs besides (optimizer moments, step), empty in checkpoints for use.
        card: how the network is built and its input prepared; None in files of other programs.
        progress: epoch, step and best accuracy at the time of saving.
        has_checksum: whether the file has one; if so, it is right. `save_checkpoint` always writes one.
    """

    path: Path
    weights: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    card: ModelCard | DetectorCard | None
    progress: dict[str, Any]
    has_checksum: bool = False


class NamedArray(Protocol):
    """What is saved: MindSpore's parameters are such."""

    name: str

    def asnumpy(self) -> np.ndarray: ...


def save_checkpoint(
    path: str | Path,
    weights: Iterable[NamedArray],
    card: ModelCard | DetectorCard,
    state: Iterable[NamedArray] = (),
    progress: Mapping[str, Any] | None = None,
) -> None:
    """Writes a checkpoint, which appears whole or not at all.

    Raises:
        UserError: the file cannot be written; an older one at `path` is intact.
    """
    path = Path(path)
    progress = check_progress(dict(progress or {}))
    content = {"format": _FORMAT, "card": card.to_dict(), "progress": progress}
    entries = [(p.name, p) for p in weights] + [(_STATE_PREFIX + p.name, p) for p in state]
    metadata = json.dumps(content, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            arrays = ((name, parameter.asnumpy()) for name, parameter in entries)
            write_checkpoint_file(file, itertools.chain(arrays, [(_METADATA, metadata)]))
    except OSError as error:
        message = f"cannot write the checkpoint {path}: {error}; is the folder writable and the disk not full?"
        raise writing_error(message, error) from error


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads and verifies a checkpoint.

    Raises:
        DamagedCheckpointError: it is damaged, or no MindSpore checkpoint.
        UserError: no such file, or one that cannot be read here and now, or what it says about itself cannot be used.
    """
    path = Path(path)
    content = read_checkpoint_file(path)
    card, progress, texts = None, {}, dict(content.texts)
    if _METADATA in texts:
        card, progress = _read_metadata(texts.pop(_METADATA), path)
    if texts:
        raise UserError(
            f"{path}: expected tensors only, got the text {shown(next(iter(texts)))}; save it without append_dict"
        )
    weights = {name: value for name, value in content.arrays.items() if not name.startswith(_STATE_PREFIX)}
    state = {
        name.removeprefix(_STATE_PREFIX): value
        for name, value in content.arrays.items()
        if name.startswith(_STATE_PREFIX)
    }
    return Checkpoint(path, weights, state, card, progress, content.has_checksum)


def _read_metadata(text: str, path: Path) -> tuple[ModelCard | DetectorCard, dict[str, Any]]:
    try:
        metadata = from_json(text)
    except ValueError as error:
        raise UserError(f"{path}: its description of the network cannot be used: {error}") from error
    if not isinstance(metadata, dict) or metadata.keys() != {"format", "card", "progress"}:
        raise UserError(
            f"{path}: its description of the network cannot be used: expected format, card and progress, got "
            f"{shown(list(metadata) if isinstance(metadata, dict) else metadata)}"
        )
    if type(metadata["format"]) is not int or metadata["format"] != _FORMAT:
        raise UserError(
            f"{path}: its description of the network cannot be used: expected format {_FORMAT}, got "
            f"{shown(metadata['format'])}; use the version of this project that wrote it"
        )
    kind = DetectorCard if isinstance(metadata["card"], dict) and "category_ids" in metadata["card"] else ModelCard
    card = kind.from_dict(metadata["card"], str(path))
    try:
        return card, check_progress(metadata["progress"])
    except UserError as error:
        raise UserError(f"{path}: what it says about its training cannot be used: {error}") from error
