"""Image files in a folder and their labels: what all sources share that read images from files."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from .fingerprint import fingerprint
from .read_image import read_image
from .reduced_decoding import Least


class LabelledFiles:
    """Images in their order; one is read when it is asked for.

    Attributes:
        classes: class names in label order.

    Args:
        folder: where the images are.
        images: files, relative to `folder`.
        labels: label of each.
        classes: class names in label order.

    Raises:
        UserError: at reading: a broken image, by its name.
    """

    def __init__(self, folder: Path, images: Sequence[str], labels: Sequence[int], classes: Sequence[str]) -> None:
        self._folder, self._images, self._labels = folder, list(images), list(labels)
        self.classes = list(classes)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return read_image(self.path(index)), self.label(index)

    def reduced(self, index: int, least: Least) -> tuple[Image.Image, int]:
        """The same, of at least the size that `least` says."""
        return read_image(self.path(index), least), self.label(index)

    def path(self, index: int) -> Path:
        return self._folder / self._images[index]

    def label(self, index: int) -> int:
        return self._labels[index]

    def describe(self, index: int) -> str:
        return str(self.path(index))

    def fingerprint(self) -> str:
        return fingerprint(self._images, self._labels)
