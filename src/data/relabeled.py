"""A data set whose labels are the outputs of a network that counts them in another order."""

from collections.abc import Sequence

from PIL import Image

from .labels import match_labels
from .loader import Dataset
from .reduced_decoding import Least, read_reduced


class Relabeled:
    """The same images with other numbers for their labels.

    Attributes:
        classes: names in the order of the new numbers.

    Args:
        dataset: where the images come from.
        classes: label of each output.
        outputs: for each label of `dataset`, its new number.
    """

    def __init__(self, dataset: Dataset, classes: Sequence[str], outputs: Sequence[int]) -> None:
        self._dataset, self._outputs = dataset, list(outputs)
        self.classes = list(classes)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        image, label = self._dataset[index]
        return image, self._outputs[label]

    def reduced(self, index: int, least: Least) -> tuple[Image.Image, int]:
        """The same, of at least the size that `least` says, where the data set can do that."""
        image, label = read_reduced(self._dataset, index, least)
        return image, self._outputs[label]

    def label(self, index: int) -> int:
        return self._outputs[self._dataset.label(index)]

    def describe(self, index: int) -> str:
        return self._dataset.describe(index)

    def fingerprint(self) -> str:
        return self._dataset.fingerprint()


def relabeled(dataset: Dataset, classes: Sequence[str], source: object) -> tuple[Dataset, list[str]]:
    """`dataset` with labels numbered as `classes`, matched by name, and what a user should know about it.

    Args:
        dataset: where the images come from.
        classes: label of each output of the network.
        source: of `classes`, for messages.

    Raises:
        UserError: as `match_labels` does.
    """
    match = match_labels(classes, dataset.classes, source)
    return (Relabeled(dataset, match.classes, match.outputs) if match.lines else dataset), match.lines
