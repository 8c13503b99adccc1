"""Reference cases in files, and how far arrays are from them.

A case is NAME.json with NAME.npz beside it: settings, inputs and outputs of mmdetection's code, and for networks the
seed from which `tests/reference/fill.py` draws weights and images. Differences are relative to the largest value of the
array (at least 1).
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor

from src.errors import UserError


@dataclass(frozen=True)
class Case:
    """A reference case.

    Attributes:
        meta: content of the JSON file.
        arrays: of the NPZ file.
    """

    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @staticmethod
    def read(file: Path) -> "Case":
        """Raises UserError where the file is no case."""
        try:
            meta = json.loads(file.read_text())
            arrays = file.with_suffix(".npz")
            return Case(meta, dict(np.load(arrays)) if arrays.is_file() else {})
        except (OSError, ValueError) as error:
            raise UserError(f"{file}: expected a reference case, NAME.json with NAME.npz beside it: {error}") from error


@dataclass(frozen=True)
class Row:
    """An array compared.

    Attributes:
        name: of the array.
        difference: the largest, relative to the largest value (at least 1); infinite for another shape.
        bound: what it may be.
    """

    name: str
    difference: float
    bound: float

    @property
    def holds(self) -> bool:
        return self.difference <= self.bound


def compare(name: str, found: Any, expected: Any, bound: float) -> Row:
    """Differences of arrays; what is not finite must be so in both."""
    found, expected = (np.asarray(x.asnumpy() if isinstance(x, Tensor) else x, np.float64) for x in (found, expected))
    if found.shape != expected.shape:
        return Row(f"{name} (shape {found.shape} for {expected.shape})", math.inf, bound)
    if found.size == 0:
        return Row(name, 0.0, bound)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        differences = np.where(same, 0.0, np.abs(found - expected))
    largest = max(1.0, np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
    return Row(name, float(np.nan_to_num(differences, nan=math.inf).max() / largest), bound)


Check = Callable[[Case], Iterator[Row]]
"""Compares every array of a case."""
