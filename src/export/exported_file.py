"""Exported files and the sidecar `<file>.json` that describes each: names, description, running them."""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from ..errors import UserError, shown, writing_error
from ..files.json_file import from_json
from ..memory import check_fits
from ..weights.model_card import ModelCard
from .file_names import ENDINGS, sidecar_of
from .onnx_session import load_onnx

LOGITS, FEATURE_MAPS = "logits", "feature maps"
"""What a file can compute."""

ENCRYPTION = "AES-GCM"
KEY_SIZES = (16, 24, 32)

PRECISIONS = ("float32", "float16", "int8")
LARGEST_BATCH = 65536

_LARGEST_SIDECAR = 2**26  # bytes


@dataclass(frozen=True)
class Sidecar:
    """What running a file needs of its description. There is none whose values cannot be used.

    Attributes:
        card: labels and preparation of the input.
        batch_size: the only one the file takes; None for any.
        takes_pixels: the input is uint8 (B, H, W, C) as it comes from the centre crop, and the file normalises; else it
            is normalised float32 (B, C, H, W).
        precision: of the products inside, one of `PRECISIONS`; what goes in and comes out is the same in both.
        content: what comes out, `LOGITS` or `FEATURE_MAPS`.
        encryption: `ENCRYPTION` where the file can be loaded with its key only, or None.
        sha256: of the file.

    Raises:
        UserError: a value is of another kind or range, or one batch does not fit into the machine's memory.
    """

    card: ModelCard
    batch_size: int | None
    takes_pixels: bool
    precision: str
    content: str
    encryption: str | None
    sha256: str

    def __post_init__(self) -> None:
        for name, expected, holds in (
            ("batch_size", f"a whole number from 1 to {LARGEST_BATCH}, or null", _is_batch_size(self.batch_size)),
            ("precision", f"one of {', '.join(PRECISIONS)}", self.precision in PRECISIONS),
            ("content", f"{LOGITS} or {FEATURE_MAPS}", self.content in (LOGITS, FEATURE_MAPS)),
            ("encryption", f"{ENCRYPTION} or null", self.encryption in (ENCRYPTION, None)),
            ("sha256", "64 digits of 0-9 and a-f", _is_sha256(self.sha256)),
        ):
            if not holds:
                raise UserError(f"{name}: expected {expected}, got {shown(getattr(self, name))}")
        batch_size, channels, (height, width) = self.batch_size or 1, self.card.in_channels, self.card.image_size
        check_fits(
            batch_size * channels * height * width * (1 if self.takes_pixels else 4),
            f"batch_size {batch_size}: images of {channels} channels and {height} x {width} pixels",
            "export again with a smaller --batch_size",
        )

    @staticmethod
    def from_dict(values: Any, where: str) -> "Sidecar":
        """Reads what export.py wrote. What is not needed to run the file is not looked at.

        Args:
            values: of JSON.
            where: names the file.

        Raises:
            UserError: values are missing, do not fit together, or are of another kind or range.
        """
        card = ModelCard.from_dict(values.get("model") if isinstance(values, dict) else None, where)
        try:
            takes_pixels = _takes_pixels(values)
            shape, size = value_of(values, "input", "shape"), list(card.image_size)
            expected = [*size, card.in_channels] if takes_pixels else [card.in_channels, *size]
            if not isinstance(shape, list) or not is_equal(shape[1:], expected):
                raise UserError(f"input.shape: expected [batch, {', '.join(map(str, expected))}], got {shown(shape)}")
            return Sidecar(
                card,
                shape[0],
                takes_pixels,
                value_of(values, "precision"),
                value_of(values, "output", "content"),
                value_of(values, "encryption"),
                value_of(values, "sha256"),
            )
        except UserError as error:
            raise UserError(f"{where}: its description of the network cannot be used: {error}") from error


_INPUTS = {True: ["NHWC", "uint8", False], False: ["NCHW", "float32", True]}
"""Whether a file takes pixels -> layout, type, and whether it is normalised before."""


def _takes_pixels(values: dict[str, Any]) -> bool:
    found = [value_of(values, "input", name) for name in ("layout", "dtype", "normalized")]
    for takes_pixels, expected in _INPUTS.items():
        if is_equal(found, expected):
            return takes_pixels
    expected = " or ".join(str(expected) for expected in _INPUTS.values())
    raise UserError(f"layout, dtype and normalized of the input: expected {expected}, got {shown(found)}")


def is_equal(found: list[Any], expected: list[Any]) -> bool:
    """Whether values are equal, in kind too: in Python False is 0, and 1.0 is 1."""
    return found == expected and list(map(type, found)) == list(map(type, expected))


def value_of(values: dict[str, Any], *names: str) -> Any:
    """What stands under `names` in a description.

    Raises:
        UserError: one of them is missing.
    """
    for depth, name in enumerate(names):
        if not isinstance(values, dict) or name not in values:
            raise UserError(f"expected {'.'.join(names[: depth + 1])}, which is missing")
        values = values[name]
    return values


def _is_batch_size(value: Any) -> bool:
    return value is None or (type(value) is int and 1 <= value <= LARGEST_BATCH)


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


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


def check_key(path: Path, encryption: str | None, key: bytes | None) -> None:
    """Raises UserError where the key of a file is missing, or there is one for a file that needs none."""
    if encryption is not None and key is None:
        raise UserError(f"{path} is encrypted: add --decrypt_key_file FILE with the key it was exported with")
    if encryption is None and key is not None:
        raise UserError(f"{path} is not encrypted: leave --decrypt_key_file out")


def read_sidecar(path: str | Path) -> Sidecar:
    """Reads the description of an exported classifier and makes sure that it is this file's.

    Raises:
        UserError: as `read_description` does, or its values cannot be used.
    """
    return Sidecar.from_dict(read_description(path), str(sidecar_of(Path(path))))


def read_description(path: str | Path) -> dict[str, Any]:
    """Reads the JSON beside an exported file and makes sure that it is this file's.

    Raises:
        UserError: the file or its sidecar is missing, cannot be read or is damaged, or they are not of one export.
    """
    path = Path(path)
    where = sidecar_of(path)
    if not os.path.isfile(path):
        is_there = os.path.exists(path)
        raise UserError(f"model file {path} is no file" if is_there else f"model file {path} does not exist")
    if not os.path.isfile(where):
        raise UserError(
            f"{where} does not exist: it holds the labels and the input size of {path.name}; keep the two files "
            "together, or export again"
        )
    try:
        with where.open("rb") as file:
            content = file.read(_LARGEST_SIDECAR + 1)
        sha256 = sha256_of(path)
    except OSError as error:
        raise writing_error(f"cannot read {error.filename or path}: {error.strerror}", error) from error
    if len(content) > _LARGEST_SIDECAR:
        raise UserError(f"{where}: expected at most {_LARGEST_SIDECAR} bytes, got more; export again")
    try:
        values = from_json(content.decode("utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{where} is damaged or was not written by export.py ({error}); export again") from error
    if not isinstance(values, dict) or not _is_sha256(values.get("sha256")):
        raise UserError(
            f"{where}: its description of the network cannot be used: sha256: expected 64 digits of 0-9 and a-f, got "
            f"{shown(values.get('sha256') if isinstance(values, dict) else values)}"
        )
    if values["sha256"] != sha256:
        raise UserError(f"{path} is damaged, or not the file that {where.name} describes; export again")
    return values


def load_exported(path: str | Path, key: bytes | None = None) -> Callable[..., Any]:
    """An exported file as a function of a batch of what its input is, which returns its logits (B, K) float32.

    A file of feature maps returns them all, a tuple of (B, C, H, W) float32; a detector takes and gives several arrays.

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

    def run(*inputs: np.ndarray) -> Any:
        outputs = cell(*map(Tensor, inputs))
        return tuple(map(Tensor.asnumpy, outputs)) if isinstance(outputs, tuple) else outputs.asnumpy()

    return run
