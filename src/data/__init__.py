"""Images on their way to the network: sources, transforms and loaders. NumPy and Pillow only, no MindSpore.

A source is anything with `len(source)`, `source[index] -> (RGB Pillow image, int label)`, `source.label(index)`,
`source.describe(index)` (the image's name in messages), `source.fingerprint()` (by which hosts tell whether they read
the same) and `source.classes` (names in label order).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..errors import UserError
from .cifar import Cifar
from .class_list import read_class_list
from .digits import Digits
from .flowers import Flowers102
from .image_folder import ImageFolder
from .loader import Dataset
from .mindrecord import MindRecord
from .oxford_pets import OxfordPets
from .val_split import Division, ValSplit

# Sources that are read from a folder: how, and what the folder holds.
_FOLDERS: dict[str, tuple[Callable[..., Dataset], str]] = {
    "folder": (ImageFolder, "train/ and val/"),
    "mindrecord": (MindRecord, "mindrecord.json and the files it names"),
    "cifar10": (partial(Cifar, num_classes=10), "cifar-10-batches-py/ or cifar-10-batches-bin/"),
    "cifar100": (partial(Cifar, num_classes=100), "cifar-100-python/ or cifar-100-binary/"),
    "oxford_pets": (OxfordPets, "images/ and annotations/"),
    "flowers102": (Flowers102, "jpg/, imagelabels.mat and setid.mat"),
}


def open_dataset(
    source: str, root: str | None, split: str, classes: str | None = None, val_split: ValSplit | None = None
) -> Dataset:
    """Opens one split of a data set.

    Args:
        source: 'digits' (embedded in scikit-learn), 'folder' (ImageNet layout), 'mindrecord' (that folder
            packed), or 'cifar10', 'cifar100', 'oxford_pets', 'flowers102' (as their official archives unpack).
        root: the folder that holds the images, laid out as its source's file in this package says; none for 'digits'.
        split: 'train' or 'val'.
        classes: file that chooses and orders the classes of a 'folder', see `class_list`; all of them when None.
        val_split: how the images of a 'folder' are divided that holds the class folders themselves.

    Raises:
        UserError: unknown source, a root where none belongs, no root where one is needed, classes or a division that a
            source has of its own, or the source's own errors.
    """
    for key, value, does in (
        ("classes", classes, "chooses among class folders"),
        ("val_split", val_split, "divides one folder of classes"),
    ):
        if value is not None and source != "folder":
            raise UserError(f"data.{key} {does}: leave it out with data source {source!r}")
    if source == "digits":
        if root is not None:
            raise UserError(
                f"data source 'digits' is embedded and takes no folder, but got {root!r}; "
                "use source 'folder' to read that folder, or leave the folder out"
            )
        return Digits(split)
    if source == "coco":
        raise UserError("data source 'coco' has boxes for a detector: set model.name to one, such as retinanet_ptnt_s")
    if source not in _FOLDERS:
        known = " or ".join(repr(name) for name in ("digits", *_FOLDERS))
        raise UserError(f"unknown data source {source!r}: expected {known}")
    open_split, content = _FOLDERS[source]
    if root is None:
        raise UserError(f"data source {source!r} needs the folder that holds {content}, but none was given")
    options: dict[str, Any] = {} if classes is None else {"classes": read_class_list(classes)}
    if val_split is not None:
        options["val_split"] = val_split
    return open_split(root, split, **options)


def division_of(dataset: Dataset) -> Division | None:
    """What divided the images into training and validation; None where the source comes in two parts."""
    return dataset.division if isinstance(dataset, ImageFolder | MindRecord) else None
