"""Images on their way to the network: sources, transforms and loaders. NumPy and Pillow only, no MindSpore.

A source is anything with `len(source)`, `source[index] -> (RGB Pillow image, int label)`, `source.label(index)`,
`source.describe(index)` (the image's name in messages), `source.fingerprint()` (by which hosts tell whether they read
the same) and `source.classes` (names in label order).
"""

from collections.abc import Callable
from functools import partial

from ..errors import UserError
from ..rule import DataSource, names_of
from .cifar import Cifar
from .class_list import read_class_list
from .digits import Digits
from .flowers import Flowers102
from .image_folder import ImageFolder
from .image_list import ImageList
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
    source: str,
    root: str | None,
    split: str,
    classes: str | None = None,
    val_split: ValSplit | None = None,
    train_list: str | None = None,
    val_list: str | None = None,
) -> Dataset:
    """Opens one split of a data set.

    Args:
        source: 'digits' (embedded in scikit-learn), 'folder' (ImageNet layout), 'list' (text files), 'mindrecord' (a
            folder packed), or 'cifar10', 'cifar100', 'oxford_pets', 'flowers102' (as their official archives unpack).
        root: the folder that holds the images, laid out as its source's file in this package says; none for 'digits',
            and for a 'list' that lies beside its images.
        split: 'train' or 'val'.
        classes: file that chooses and orders the classes of a 'folder' or 'list', see `class_list`; all when None.
        val_split: how the images of a 'folder' are divided that holds the class folders themselves, or of `train_list`.
        train_list: the training images of a 'list'.
        val_list: the validation images of a 'list'.

    Raises:
        UserError: unknown source, a root where none belongs, no root where one is needed, classes, a division or
            lists where the source has its own, or the source's own errors.
    """
    for key, value, does in (
        ("classes", classes, "chooses among the classes of folders and lists"),
        ("val_split", val_split, "divides one folder of classes or one list"),
    ):
        if value is not None and source not in ("folder", "list"):
            raise UserError(f"data.{key} {does}: leave it out with data source {source!r}")
    for key, value in (("train_list", train_list), ("val_list", val_list)):
        if value is not None and source != "list":
            raise UserError(f"data.{key} is for data source 'list', got {source!r}: set that, or leave the list out")
    chosen = None if classes is None else read_class_list(classes)
    if source == "list":
        return ImageList(root, split, train_list, val_list, chosen, val_split)
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
        known = " or ".join(repr(name) for name in names_of(DataSource) if name != "coco")
        raise UserError(f"unknown data source {source!r}: expected {known}")
    open_split, content = _FOLDERS[source]
    if root is None:
        raise UserError(f"data source {source!r} needs the folder that holds {content}, but none was given")
    if source == "folder":
        return ImageFolder(root, split, chosen, val_split)
    return open_split(root, split)


def division_of(dataset: Dataset) -> Division | None:
    """What divided the images into training and validation; None where the source comes in two parts."""
    return dataset.division if isinstance(dataset, ImageFolder | ImageList | MindRecord) else None
