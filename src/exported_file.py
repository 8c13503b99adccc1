"""Exported files and the sidecar `<file>.json` that describes each: names, description, running them."""

import difflib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from src.errors import UserError
from src.model_card import ModelCard

ENDINGS = {"MINDIR": ".mindir", "AIR": ".air"}


@dataclass(frozen=True)
class Sidecar:
    """What running a file needs of its description.

    Attributes:
        card: labels and preparation of the input.
        batch_size: the only one the file takes; None for any.
    """

    card: ModelCard
    batch_size: int | None


def ending_of(file_format: str) -> str:
    """How the names of files of this format end.

    Raises:
        UserError: no such format; the nearest is named.
    """
    if file_format not in ENDINGS:
        near = difflib.get_close_matches(file_format.upper(), ENDINGS, n=1)
        advice = f"did you mean {near[0]}?" if near else "known: " + ", ".join(ENDINGS)
        raise UserError(f"unknown file format {file_format!r}; {advice}")
    return ENDINGS[file_format]


def sidecar_of(path: Path) -> Path:
    """The name of a file's description."""
    return Path(f"{path}.json")


def sha256_of(path: Path) -> str:
    """Checksum of a file, as the program `sha256sum` prints it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_sidecar(path: str | Path) -> Sidecar:
    """Reads the description of an exported file and makes sure that it is this file's.

    Raises:
        UserError: the file or its sidecar is missing or damaged, or they are not of one export.
    """
    path = Path(path)
    sidecar = sidecar_of(path)
    if not path.is_file():
        raise UserError(f"model file {path} does not exist" if not path.exists() else f"model file {path} is no file")
    if not sidecar.is_file():
        raise UserError(
            f"{sidecar} does not exist: it holds the labels and the input size of {path.name}; keep the two files "
            "together, or export again"
        )
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        card = ModelCard.from_dict(content["model"], str(sidecar))
        batch_size, sha256 = content["input"]["shape"][0], content["sha256"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{sidecar} is damaged or was not written by export.py; export again") from error
    if sha256 != sha256_of(path):
        raise UserError(f"{path} is damaged, or not the file that {sidecar.name} describes; export again")
    return Sidecar(card, batch_size)


def load_exported(path: str | Path) -> Callable[[np.ndarray], np.ndarray]:
    """An exported file as a function: images (B, C, H, W) float32 -> logits (B, K) float32.

    Raises:
        UserError: MindSpore cannot load files of this kind, or not this one.
    """
    path = Path(path)
    if path.suffix != ENDINGS["MINDIR"]:
        raise UserError(f"{path} cannot be run here: expected a MINDIR file, with the ending {ENDINGS['MINDIR']}")
    try:
        cell = nn.GraphCell(ms.load(str(path)))
    except RuntimeError as error:
        raise UserError(f"{path} is not a MINDIR file that MindSpore {ms.__version__} can load") from error
    return lambda images: cell(Tensor(images)).asnumpy()
