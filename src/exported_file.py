"""Exported files and the sidecar `<file>.json` that describes each: names, description, running them."""

import difflib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from src.errors import UserError
from src.model_card import ModelCard
from src.onnx_export import load_onnx

ENDINGS = {"MINDIR": ".mindir", "AIR": ".air", "ONNX": ".onnx"}

LOGITS, FEATURE_MAPS = "logits", "feature maps"
"""What a file can compute."""

ENCRYPTION = "AES-GCM"
KEY_SIZES = (16, 24, 32)


@dataclass(frozen=True)
class Sidecar:
    """What running a file needs of its description.

    Attributes:
        card: labels and preparation of the input.
        batch_size: the only one the file takes; None for any.
        takes_pixels: the input is uint8 (B, H, W, C) as it comes from the centre crop, and the file normalises; else it
            is normalised float32 (B, C, H, W).
        precision: of the products inside, 'float32' or 'float16'; what goes in and comes out is the same in both.
        content: what comes out, `LOGITS` or `FEATURE_MAPS`.
        encryption: `ENCRYPTION` where the file can be loaded with its key only, or None.
    """

    card: ModelCard
    batch_size: int | None
    takes_pixels: bool
    precision: str
    content: str
    encryption: str | None


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


def read_key(path: str | Path) -> bytes:
    """The key of an encrypted file: 16, 24 or 32 bytes, a newline at the end not counted.

    Raises:
        UserError: no such file, or another number of bytes.
    """
    try:
        key = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read key file {path}: {error.strerror}") from error
    if len(key) not in KEY_SIZES:
        key = key.removesuffix(b"\n").removesuffix(b"\r")
    if len(key) not in KEY_SIZES:
        raise UserError(
            f"key file {path}: expected 16, 24 or 32 bytes, got {len(key)}; 'head -c 16 /dev/urandom > FILE' makes one"
        )
    return key


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
        description = Sidecar(
            card,
            batch_size=content["input"]["shape"][0],
            takes_pixels=content["input"]["dtype"] == "uint8",
            precision=content["precision"],
            content=content["output"]["content"],
            encryption=content["encryption"],
        )
        sha256 = content["sha256"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{sidecar} is damaged or was not written by export.py; export again") from error
    if sha256 != sha256_of(path):
        raise UserError(f"{path} is damaged, or not the file that {sidecar.name} describes; export again")
    return description


def load_exported(path: str | Path, key: bytes | None = None) -> Callable[[np.ndarray], Any]:
    """An exported file as a function of a batch of what its input is, which returns its logits (B, K) float32.

    A file of feature maps returns them all, a tuple of (B, C, H, W) float32.

    Args:
        path: the file, with the ending of its format.
        key: of an encrypted file.

    Raises:
        UserError: files of this kind cannot be run here, or not this one, or it is encrypted with another key.
    """
    path = Path(path)
    if path.suffix == ENDINGS["ONNX"]:
        return load_onnx(path)
    if path.suffix != ENDINGS["MINDIR"]:
        expected = " or ".join(ENDINGS[name] for name in ("MINDIR", "ONNX"))
        raise UserError(f"{path} cannot be run here: expected a file with the ending {expected}")
    decryption = {} if key is None else {"dec_key": key, "dec_mode": ENCRYPTION}
    try:
        cell = nn.GraphCell(ms.load(str(path), **decryption))
    except RuntimeError as error:
        reason = "that is not encrypted" if key is None else "encrypted with this key"
        raise UserError(f"{path} is not a MINDIR file {reason} that MindSpore {ms.__version__} can load") from error

    def run(batch: np.ndarray) -> Any:
        outputs = cell(Tensor(batch))
        return tuple(map(Tensor.asnumpy, outputs)) if isinstance(outputs, tuple) else outputs.asnumpy()

    return run
