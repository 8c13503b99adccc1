"""Checkpoints: bare parameter names, a description of the network, written atomically, never loaded silently."""

import itertools
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, nn

from ..errors import UserError, shown, writing_error
from ..files.json_file import from_json
from .checkpoint_file import DamagedCheckpointError, read_checkpoint_file, write_checkpoint_file
from .model_card import ModelCard
from .training_progress import check_progress

__all__ = [
    "Checkpoint",
    "DamagedCheckpointError",
    "load_state",
    "load_weights",
    "read_checkpoint",
    "save_checkpoint",
    "sync_folder",
]

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
    card: ModelCard | None
    progress: dict[str, Any]
    has_checksum: bool = False


def save_checkpoint(
    path: str | Path,
    weights: Iterable[Parameter],
    card: ModelCard,
    state: Iterable[Parameter] = (),
    progress: Mapping[str, Any] | None = None,
) -> None:
    """Writes a checkpoint beside `path`, syncs it to the disk and renames it: `path` is never half-written.

    Raises:
        UserError: the file cannot be written; an older one at `path` is intact.
    """
    path = Path(path)
    progress = check_progress(dict(progress or {}))
    content = {"format": _FORMAT, "card": card.to_dict(), "progress": progress}
    entries = [(p.name, p) for p in weights] + [(_STATE_PREFIX + p.name, p) for p in state]
    metadata = json.dumps(content, allow_nan=False)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.ckpt")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            arrays = ((name, parameter.asnumpy()) for name, parameter in entries)
            write_checkpoint_file(file, itertools.chain(arrays, [(_METADATA, metadata)]))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        sync_folder(path.parent)
    except OSError as error:
        message = f"cannot write the checkpoint {path}: {error}; is the folder writable and the disk not full?"
        raise writing_error(message, error) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes names given in `folder` outlive a power failure, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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


def _read_metadata(text: str, path: Path) -> tuple[ModelCard, dict[str, Any]]:
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
    card = ModelCard.from_dict(metadata["card"], str(path))
    try:
        return card, check_progress(metadata["progress"])
    except UserError as error:
        raise UserError(f"{path}: what it says about its training cannot be used: {error}") from error


def load_weights(net: nn.Cell, checkpoint: Checkpoint) -> None:
    """Fills every parameter of `net`, strictly.

    Raises:
        UserError: the checkpoint misses parameters, has others, or others' shapes or types; `net` is unchanged.
    """
    _fill({p.name: p for p in net.get_parameters()}, checkpoint.weights, f"{checkpoint.path} does not fit this network")


def load_state(parameters: Iterable[Parameter], checkpoint: Checkpoint) -> None:
    """Fills the optimizer's parameters, strictly.

    Raises:
        UserError: the checkpoint was not saved for resuming, or for another run.
    """
    if not checkpoint.state:
        raise UserError(f"{checkpoint.path} holds weights only and cannot be resumed from; resume from a last.ckpt")
    if missing := {"step", "steps_per_epoch"} - checkpoint.progress.keys():
        raise UserError(f"{checkpoint.path} does not say its {min(missing)} and cannot be resumed from")
    _fill({p.name: p for p in parameters}, checkpoint.state, f"{checkpoint.path} is of another run")


def _fill(parameters: Mapping[str, Parameter], values: Mapping[str, np.ndarray], problem: str) -> None:
    missing = [name for name in parameters if name not in values]
    unexpected = [name for name in values if name not in parameters]
    shared = [name for name in parameters if name in values]
    reshaped = [
        f"{name} {values[name].shape} for {tuple(parameters[name].shape)}"
        for name in shared
        if values[name].shape != tuple(parameters[name].shape)
    ]
    retyped = [
        f"{name} {values[name].dtype} for {str(parameters[name].dtype).lower()}"
        for name in shared
        if values[name].dtype.kind != _kind_of(parameters[name])
    ]
    if missing or unexpected or reshaped or retyped:
        kinds = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped, "of another type": retyped}
        parts = [
            f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for kind, names in kinds.items()
            if names
        ]
        raise UserError(f"{problem}: of {len(parameters)} parameters " + ", ".join(parts))
    for name in shared:
        parameters[name].set_data(Tensor(values[name], parameters[name].dtype))


def _kind_of(parameter: Parameter) -> str:
    """As `numpy.dtype.kind` says it."""
    name = str(parameter.dtype).rstrip("0123456789_").lower()
    return {"float": "f", "bfloat": "f", "int": "i", "uint": "u", "bool": "b"}.get(name, name)
