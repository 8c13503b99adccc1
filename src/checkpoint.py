"""Checkpoints: bare parameter names, a description of the network, written atomically, never loaded silently."""

import binascii
import json
import mmap
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from src.errors import TemporaryError, UserError, writing_error
from src.model_card import ModelCard

_METADATA = "metadata"
_CHECKSUM = b"crc_num"
"""Before the last ten bytes of a file, which are the CRC32 of all before."""

_PART = 2**24  # bytes
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


class DamagedCheckpointError(UserError):
    """The file is not what was written."""


def save_checkpoint(
    path: str | Path,
    weights: Iterable[Parameter],
    card: ModelCard,
    state: Iterable[Parameter] = (),
    progress: Mapping[str, Any] | None = None,
) -> None:
    """Writes a checkpoint beside `path`, syncs it to the disk and renames it: `path` is never half-written.

    (MindSpore's own `save_checkpoint` deletes the old file before it writes the new one.)

    Raises:
        UserError: the file cannot be written; an older one at `path` is intact.
    """
    path = Path(path)
    entries = [{"name": p.name, "data": p} for p in weights]
    entries += [{"name": _STATE_PREFIX + p.name, "data": p} for p in state]
    metadata = json.dumps({"format": 1, "card": card.to_dict(), "progress": dict(progress or {})})
    beside = path.with_name(f".{path.stem}.{os.getpid()}.ckpt")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ms.save_checkpoint(entries, str(beside), append_dict={_METADATA: metadata}, crc_check=True)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        message = f"cannot write the checkpoint {path}: {error}; is the folder writable and the disk not full?"
        raise writing_error(message, error) from error
    finally:
        for left in (beside, beside.with_suffix(".tmp")):  # MindSpore writes the latter first
            with suppress(OSError):
                left.unlink(missing_ok=True)


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
        UserError: no such file, or one that cannot be read here and now.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist" if not path.exists() else f"{path} is not a file")
    damaged = DamagedCheckpointError(
        f"{path} is not a readable MindSpore checkpoint: it is truncated, damaged or of another kind "
        "(convert.py makes checkpoints of PyTorch files)"
    )
    try:
        is_right = _is_checksum_right(path)
        _make_room(path.stat().st_size)
    except OSError as error:
        raise TemporaryError(f"cannot read the checkpoint {path}: {error}") from error
    if is_right is False:
        raise damaged
    try:
        # the file's own content tells the format, a name without the ending would be refused
        entries = ms.load_checkpoint(str(path))
    except (ValueError, RuntimeError, TypeError, OSError) as error:
        if is_right:
            raise TemporaryError(f"cannot load the checkpoint {path}, which is not damaged: {error}") from error
        raise damaged from error
    values = {name: entry.asnumpy() if isinstance(entry, Tensor) else entry for name, entry in entries.items()}
    card, progress = None, {}
    if isinstance(values.get(_METADATA), str):
        metadata = json.loads(values.pop(_METADATA))
        card, progress = ModelCard.from_dict(metadata["card"], str(path)), metadata["progress"]
    weights = {name: value for name, value in values.items() if not name.startswith(_STATE_PREFIX)}
    state = {name.removeprefix(_STATE_PREFIX): v for name, v in values.items() if name.startswith(_STATE_PREFIX)}
    return Checkpoint(path, weights, state, card, progress, bool(is_right))


def _is_checksum_right(path: Path) -> bool | None:
    """None where the file has none."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END) - 10 - len(_CHECKSUM)
        if end < 0:
            return None
        file.seek(end)
        mark, expected = file.read(len(_CHECKSUM)), int.from_bytes(file.read(), "big")
        if mark != _CHECKSUM:
            return None
        file.seek(0)
        found = 0
        while end > 0:
            part = file.read(min(_PART, end))
            found, end = binascii.crc32(part, found), end - len(part)
        return found == expected


def _make_room(size: int) -> None:
    """Makes the system drop cached files until a file of `size` bytes fits into the memory that is free.

    MindSpore 2.10 refuses to load a checkpoint that is larger, although the cache of files, which fills a training
    host's memory, would make room. Loading takes more memory than is asked for here.
    """
    with suppress(OSError, ValueError):  # it cannot be told, or had
        if os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE > size + _PART:
            return
        with mmap.mmap(-1, size + 2 * _PART) as room:
            for begin in range(0, len(room), mmap.PAGESIZE):
                room[begin] = 1


def load_weights(net: nn.Cell, checkpoint: Checkpoint) -> None:
    """Fills every parameter of `net`, strictly.

    Raises:
        UserError: the checkpoint misses parameters, has others, or others' shapes; `net` is unchanged.
    """
    _fill({p.name: p for p in net.get_parameters()}, checkpoint.weights, f"{checkpoint.path} does not fit this network")


def load_state(parameters: Iterable[Parameter], checkpoint: Checkpoint) -> None:
    """Fills the optimizer's parameters, strictly.

    Raises:
        UserError: the checkpoint was not saved for resuming, or for another run.
    """
    if not checkpoint.state:
        raise UserError(f"{checkpoint.path} holds weights only and cannot be resumed from; resume from a last.ckpt")
    _fill({p.name: p for p in parameters}, checkpoint.state, f"{checkpoint.path} is of another run")


def _fill(parameters: Mapping[str, Parameter], values: Mapping[str, Any], problem: str) -> None:
    missing = [name for name in parameters if name not in values]
    unexpected = [name for name in values if name not in parameters]
    shared = [name for name in parameters if name in values]
    reshaped = [
        f"{name} {tuple(np.shape(values[name]))} for {tuple(parameters[name].shape)}"
        for name in shared
        if tuple(np.shape(values[name])) != tuple(parameters[name].shape)
    ]
    if missing or unexpected or reshaped:
        parts = [
            f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
            if names
        ]
        raise UserError(f"{problem}: of {len(parameters)} parameters " + ", ".join(parts))
    for name in shared:
        parameters[name].set_data(Tensor(values[name], parameters[name].dtype))
