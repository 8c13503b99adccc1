"""Image files that somebody names, as a data set."""

from collections.abc import Sequence
from pathlib import Path

from .labelled_files import LabelledFiles
from .labels import common_labels

UNKNOWN = -1
"""The label of an image whose class is not known."""


class ImageFiles(LabelledFiles):
    """The images of a list, in its order.

    Args:
        files: where they are. A file's label is that of the class that its folder is called after, by name or by
            WordNet id, or `UNKNOWN`.
        classes: class names in label order.
    """

    def __init__(self, files: Sequence[Path], classes: Sequence[str]) -> None:
        folders = [file.absolute().parent.name for file in files]
        names = sorted(set(folders))
        known = {names[number]: label for number, label in common_labels(classes, names).items()}
        labels = [known.get(name, UNKNOWN) for name in folders]
        super().__init__(Path(), [str(file) for file in files], labels, classes)
