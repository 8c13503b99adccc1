"""The handwritten digits that scikit-learn ships: 1,797 real 8x8 grey images in 10 classes, nothing to download.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository (its test half).
The split is ours and fixed: 1,437 training and 360 validation images.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import UserError
from .fingerprint import fingerprint

NUM_VAL = 360
SPLIT_SEED = 0
_FILE = "datasets/data/digits.csv.gz"
"""In scikit-learn's folder."""


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """All images, (1797, 8, 8) float64 of 0 .. 16, and their labels, (1797,) int64, as `load_digits` gives them.

    From its file, because to import scikit-learn takes a second; through it where that lies elsewhere.
    """
    package = find_spec("sklearn")
    try:
        rows = np.loadtxt(Path(package.submodule_search_locations[0], _FILE), delimiter=",")
    except (OSError, AttributeError):
        from sklearn.datasets import load_digits

        rows = np.column_stack(load_digits(return_X_y=True))
    return rows[:, :64].reshape(-1, 8, 8), rows[:, 64].astype(np.int64)


def val_indices(labels: np.ndarray, num_val: int = NUM_VAL) -> np.ndarray:
    """Sorted indices of a stratified validation set of exactly `num_val` of the samples.

    Class k with n_k of the n samples gives floor(n_k * num_val / n) images; what is then missing to `num_val` comes one
    each from the classes with the largest remainders (the smaller label first where they are equal). Which images: the
    first ones of one permutation a class, drawn in label order from `np.random.RandomState`, whose stream NumPy keeps
    for ever. Nothing depends on scikit-learn but the order of its images, which is that of the published file.

    Args:
        labels: (n,) integers 0 .. K-1.
        num_val: images to choose.
    """
    counts = np.bincount(labels)
    shares, remainders = np.divmod(counts * num_val, len(labels))
    by_remainder = np.argsort(-remainders, kind="stable")
    shares[by_remainder[: num_val - shares.sum()]] += 1
    random = np.random.RandomState(SPLIT_SEED)
    chosen = [random.permutation(np.flatnonzero(labels == k))[:share] for k, share in enumerate(shares)]
    return np.sort(np.concatenate(chosen))


class Digits:
    """One split of the digits, in the order of the published file.

    Pixel values 0 .. 16 become 0 .. 255, rounded half up (8 -> 128), the same in all three channels.

    Args:
        split: 'train' (1,437 images) or 'val' (360 images).

    Raises:
        UserError: another split.
    """

    classes = [str(digit) for digit in range(10)]

    def __init__(self, split: str) -> None:
        if split not in ("train", "val"):
            raise UserError(f"unknown split {split!r}: expected 'train' or 'val'")
        images, labels = read_digits()
        in_val = np.zeros(len(labels), dtype=bool)
        in_val[val_indices(labels)] = True
        chosen = in_val if split == "val" else ~in_val
        self._split = split
        self._pixels = ((images[chosen].astype(np.int64) * 255 + 8) // 16).astype(np.uint8)  # (n, 8, 8)
        self._labels = labels[chosen]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self._pixels[index]).convert("RGB"), self.label(index)

    def label(self, index: int) -> int:
        return int(self._labels[index])

    def describe(self, index: int) -> str:
        return f"image {index} of the split {self._split}, counted from 0"

    def fingerprint(self) -> str:
        return fingerprint((), self._labels)
