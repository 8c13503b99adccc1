"""Image files that somebody names, as a data set."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from .fingerprint import fingerprint
from .read_image import read_image

UNKNOWN = -1
"""The label of an image whose class is not known."""


class ImageFiles:
    """The images of a list, in its order; an image is read when it is asked for.

    Attributes:
        classes: class names in label order.

    Args:
        files: where they are. A file's label is that of the class that its folder is called after, or `UNKNOWN`.
        classes: class names in label order.
    """

    def __init__(self, files: Sequence[Path], classes: Sequence[str]) -> None:
        self._files, self.classes = list(files), list(classes)
        self._labels = {name: label for label, name in enumerate(classes)}

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return read_image(self._files[index]), self.label(index)

    def label(self, index: int) -> int:
        return self._labels.get(self._files[index].absolute().parent.name, UNKNOWN)

    def describe(self, index: int) -> str:
        return str(self._files[index])

    def fingerprint(self) -> str:
        names = [str(file) for file in self._files]
        return fingerprint(names, [self.label(index) for index in range(len(self))])
