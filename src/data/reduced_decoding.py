"""Large photographs decoded at 1/2, 1/4 or 1/8 of their size, where a network's small input needs no more.

A JPEG is decoded to such a size in a fraction of the time, because most of its coefficients are left out. A data set
that can do it has a method `reduced(index, least)` beside `__getitem__`.
"""

from collections.abc import Callable
from typing import Any

from PIL import Image

Size = tuple[int, int]
"""(height, width) in pixels."""

Least = Callable[[Size], Size]
"""Size of an image -> smallest size that it may be decoded to; called before it is decoded, once."""


def read_reduced(dataset: Any, index: int, least: Least) -> tuple[Image.Image, int]:
    """An image of a data set and its label, reduced where the data set can do that."""
    if hasattr(dataset, "reduced"):
        return dataset.reduced(index, least)
    return dataset[index]
