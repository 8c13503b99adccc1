"""CIFAR-10 and CIFAR-100: 32x32 colour images, 50,000 for training and 10,000 for validation.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Two of the official archives are
read, as they unpack:

- python: pickles that Python 2 wrote.
- binary: records of one label (CIFAR-100: the coarse label, then the fine one) and 3,072 pixel values.

Pixels are 32 rows of 32 red values, then green, then blue. CIFAR-100 has its 100 fine labels here. The official test
images are the split 'val'. A file may hold fewer images than the official one (a subset), but only whole ones.

Reading a pickle runs nothing: what NumPy would have to build is only written down, and a file that names anything
beyond that is refused.
"""

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError
from .fingerprint import fingerprint

SIDE = 32
NUM_VALUES = 3 * SIDE * SIDE


@dataclass(frozen=True)
class Archive:
    """The folder that an official archive unpacks to, and its files."""

    folder: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    names: str


ARCHIVES = {
    10: (
        Archive("cifar-10-batches-py", tuple(f"data_batch_{i}" for i in range(1, 6)), ("test_batch",), "batches.meta"),
        Archive(
            "cifar-10-batches-bin",
            tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
            ("test_batch.bin",),
            "batches.meta.txt",
        ),
    ),
    100: (
        Archive("cifar-100-python", ("train",), ("test",), "meta"),
        Archive("cifar-100-binary", ("train.bin",), ("test.bin",), "fine_label_names.txt"),
    ),
}


class Cifar:
    """One split, in the order of the files; all pixels are in memory (3,072 bytes an image).

    Attributes:
        classes: class names in label order.

    Args:
        root: folder that holds the unpacked archive, or the unpacked folder itself; where both archives are, the python
            version is read.
        split: 'train' or 'val'.
        num_classes: 10 or 100.

    Raises:
        UserError: another split, a folder without the archive, a file of it that is missing, damaged or dangerous.
    """

    def __init__(self, root: str | Path, split: str, num_classes: int) -> None:
        if split not in ("train", "val"):
            raise UserError(f"unknown split {split!r}: expected 'train' or 'val'")
        self._split = split
        folder, archive = _find(Path(root), num_classes)
        self.classes = _read(folder / archive.names, _read_names, num_classes, f"{num_classes} class names")
        count = "50,000" if num_classes == 100 and split == "train" else "10,000"
        batches = [
            _read(folder / name, _read_images, num_classes, f"{count} images of 3,072 bytes and their labels")
            for name in (archive.train if split == "train" else archive.val)
        ]
        self._pixels = np.concatenate([pixels for pixels, _ in batches])  # (n, 3072)
        self._labels = np.concatenate([labels for _, labels in batches])  # (n,)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        planes = self._pixels[index].reshape(3, SIDE, SIDE)
        return Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0))), self.label(index)

    def label(self, index: int) -> int:
        return int(self._labels[index])

    def describe(self, index: int) -> str:
        return f"image {index} of the split {self._split}, counted from 0"

    def fingerprint(self) -> str:
        return fingerprint((), self._labels)


def _find(root: Path, num_classes: int) -> tuple[Path, Archive]:
    """The unpacked folder, in `root` or `root` itself, and the archive that it comes from: one with a file there."""
    for archive in ARCHIVES[num_classes]:
        for folder in (root / archive.folder, root):
            if any(os.path.isfile(folder / name) for name in (*archive.train, *archive.val, archive.names)):
                return folder, archive
    python, binary = (archive.folder for archive in ARCHIVES[num_classes])
    expected = f"expected {python}/ or {binary}/, as the official archives of CIFAR-{num_classes} unpack"
    try:
        there = sorted(os.listdir(root))
    except OSError as error:
        raise UserError(f"data folder {root} cannot be listed: {error.strerror}; {expected}") from error
    shown = ", ".join(there[:5]) + f" and {len(there) - 5} more" * (len(there) > 5)
    raise UserError(f"data folder {root} holds {shown or 'nothing'}; {expected}")


def _read(path: Path, read: Callable[[Path, int], Any], num_classes: int, official: str) -> Any:
    """What `read` gives for a file of the archive; what goes wrong names the file and what the official one has."""
    again = f"the official file has {official}: unpack the archive again"
    try:
        return read(path, num_classes)
    except UserError as error:
        raise UserError(f"{path}: {error}; {again}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}; {again}") from error
    except Exception as error:  # damage can break any step of the parsing
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")[:120]
        raise UserError(f"{path} is damaged or cut short ({reason}); {again}") from error


def _read_names(path: Path, num_classes: int) -> list[str]:
    if path.suffix == ".txt":
        names = path.read_text(encoding="utf-8-sig").split()
    else:
        key = b"label_names" if num_classes == 10 else b"fine_label_names"
        names = [name.decode("ascii") for name in _load_pickle(path)[key]]
    if len(names) != num_classes:
        raise ValueError(f"{len(names)} class names")
    return names


def _read_images(path: Path, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 3072) uint8 and labels (n,) of one file."""
    read = _read_records if path.suffix == ".bin" else _read_pickled_images
    pixels, labels = read(path, num_classes)
    if not len(pixels):
        raise ValueError("no images")
    if pixels.shape[1] != NUM_VALUES or labels.shape != pixels.shape[:1]:
        raise ValueError(f"pixels of shape {pixels.shape} with labels of shape {labels.shape}")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"labels from {labels.min()} to {labels.max()}, expected whole numbers below {num_classes}")
    return pixels, labels


def _read_records(path: Path, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    num_labels = 1 if num_classes == 10 else 2
    values = np.fromfile(path, np.uint8)
    size = num_labels + NUM_VALUES
    if len(values) % size:
        raise ValueError(f"{len(values)} bytes are no whole number of records of {size}")
    records = values.reshape(-1, size)
    return records[:, num_labels:], records[:, num_labels - 1]


def _read_pickled_images(path: Path, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    content = _load_pickle(path)
    labels = np.array(content[b"labels" if num_classes == 10 else b"fine_labels"])
    match content[b"data"]:
        case _Call("numpy.core.multiarray._reconstruct", state=(_, (_, _) as shape, dtype, is_fortran, bytes(values))):
            pass
        case _:
            raise ValueError("'data' is no array of two dimensions")
    if not (isinstance(dtype, _Call) and dtype.name == "numpy.dtype" and dtype.args[0] == b"u1"):
        raise ValueError("'data' is no array of uint8")
    return np.frombuffer(values, np.uint8).reshape(shape, order="F" if is_fortran else "C"), labels


class _Call:
    """A function of NumPy that a pickle names, the arguments to call it with, and the state to set; nothing is run."""

    __match_args__ = ("name",)

    def __init__(self, name: str, args: tuple = ()) -> None:
        self.name, self.args, self.state = name, args, None

    def __call__(self, *args: Any) -> "_Call":
        return _Call(self.name, args)

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Numbers, texts (as bytes, as Python 2 had them), lists and dicts, with a `_Call` wherever NumPy is named."""

    def find_class(self, module: str, name: str) -> _Call:
        full_name = f"{module}.{name}"
        if full_name not in ("numpy.core.multiarray._reconstruct", "numpy.ndarray", "numpy.dtype"):
            raise UserError(f"its pickle names {full_name[:80]!r}, which images do not need: refused, nothing was run")
        return _Call(full_name)


def _load_pickle(path: Path) -> dict:
    with open(path, "rb") as file:
        return _Unpickler(file, encoding="bytes").load()
