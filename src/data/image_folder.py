"""Images in ImageNet layout: ROOT/train/CLASS/**/image and ROOT/val/CLASS/**/image.

Labels number the sorted class names (by code point). The classes are those of train/, also for val/, which may lack
some of them; only where there is no train/ at all, val/ brings its own (so that a validation set can be evaluated
alone). A `ClassList` chooses among them and orders them.

With a `ValSplit` the layout is ROOT/CLASS/**/image, and that divides each class into both splits.

Images are the files with an ending that Pillow reads, in upper or lower case, in a class folder or below it; links are
followed. All other files, and whatever is hidden (name with a leading dot), are named in `ignored`, and so are named
pipes, sockets and devices, which are never opened.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError, counted
from .class_list import ClassList
from .labelled_files import LabelledFiles
from .read_image import image_endings
from .val_split import Division, ValSplit

LAYOUT = "expected ROOT/train/CLASS/image.jpg and ROOT/val/CLASS/image.jpg, one folder per class"
ONE_FOLDER = "expected ROOT/CLASS/image.jpg, one folder per class, which data.val_split divides"
SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test"}


class ImageFolder(LabelledFiles):
    """One split of an image folder; an image is read when it is asked for.

    Attributes:
        classes: labels in their order.
        ignored: files that are no images, relative to the split's folder or the divided one; a hidden folder is one
            entry ending in '/'.
        left_out: class folders that the chosen classes lack.
        division: what divided the images into training and validation; None where folders do.

    Args:
        root: folder that holds train/ and val/, or with `val_split` the class folders.
        split: 'train' or 'val'.
        classes: those that count; all when None.
        val_split: how the images of each class are divided.

    Raises:
        UserError: another split, a missing folder, no class folders, a class folder without images, a class in val/
            that train/ does not have, one of `classes` that there is none of; with `val_split` folders of splits in
            place of classes, or a class of one image. At reading: a broken image, by its name.
    """

    def __init__(
        self, root: str | Path, split: str, classes: ClassList | None = None, val_split: ValSplit | None = None
    ) -> None:
        if split not in ("train", "val"):
            raise UserError(f"unknown split {split!r}: expected 'train' or 'val'")
        root = Path(root)
        layout = LAYOUT if val_split is None else ONE_FOLDER
        if not root.is_dir():
            raise UserError(f"data folder {root} does not exist or is no folder; {layout}")
        folder = root / split if val_split is None else root
        if not folder.is_dir():
            raise UserError(
                f"data folder {root} has no folder {split}/; {LAYOUT}; where it holds the class folders themselves, "
                "give data.val_split, such as 0.1"
            )
        own_names, self.ignored = _class_folders(folder, layout)
        all_names = own_names
        if val_split is not None and {name.lower() for name in own_names} <= SPLIT_NAMES:
            raise UserError(
                f"data folder {root} has the folders {', '.join(own_names)}, which are no classes; {ONE_FOLDER}: leave "
                f"data.val_split out, or give {root / own_names[0]} as the folder"
            )
        if val_split is None and split == "val" and (root / "train").is_dir():
            all_names, _ = _class_folders(root / "train", LAYOUT)
            if classes is None and (unknown := sorted(set(own_names) - set(all_names))):
                raise UserError(
                    f"{folder} has classes that {root / 'train'} does not have: {_some(unknown)}; "
                    "rename or remove them, or add their training images"
                )
        self._class_list = classes or ClassList(all_names, all_names)
        self._class_list.check_are_there(all_names, root / "train" if all_names is not own_names else folder)
        number_of = {name: self._class_list.number_of(name) for name in own_names}
        self.left_out = [name for name, number in number_of.items() if number is None]
        own_names = [name for name, number in number_of.items() if number is not None]
        if not own_names:
            raise UserError(f"{folder} has none of the classes that {self._class_list.path} names: add their images")
        images: dict[str, list[str]] = {name: [] for name in own_names}
        endings = image_endings()
        for name, files in images.items():
            for file, is_image in _files(folder, name, endings, ()):
                (files if is_image else self.ignored).append(file)
        if empty := [name for name, files in images.items() if not files]:
            other = f"; files that are no images: {_some(self.ignored)}" if self.ignored else ""
            raise UserError(
                f"{folder} has class folders without images: {_some(empty)}; add images or remove the folders{other}"
            )
        self.division: Division | None = None
        if val_split is not None:
            chosen, self.division = val_split.divide(images, folder)
            is_val = split == "val"
            images = {name: [file for file in files if (file in chosen) == is_val] for name, files in images.items()}
        labels = [number_of[name] for name, files in images.items() for _ in files]
        super().__init__(folder, [file for of in images.values() for file in of], labels, self._class_list.labels)

    def name(self, index: int) -> str:
        """The file, relative to the split's folder, or to the one that is divided."""
        return self._images[index]

    def describe_ignored(self) -> str | None:
        """One line that names what is left out, None where that is nothing."""
        parts = []
        if self.left_out:
            folders = counted(len(self.left_out), "class folder")
            parts.append(f"{folders} that {self._class_list.path} does not name: {_some(self.left_out)}")
        if self.ignored:
            number = f"{len(self.ignored):,} entries that are" if len(self.ignored) > 1 else "1 entry that is"
            parts.append(f"{number} no image or hidden: {_some(self.ignored)}")
        return f"{self._folder}: left out {'; '.join(parts)}" if parts else None


def _class_folders(folder: Path, layout: str) -> tuple[list[str], list[str]]:
    """Sorted class names, and the other entries of a split's folder."""
    classes, ignored = [], []
    for entry in _entries(folder):
        if _is_dir(entry) and not entry.name.startswith("."):
            classes.append(entry.name)
        else:
            ignored.append(entry.name + "/" * _is_dir(entry))
    if not classes:
        files = f"{len(ignored)} other entries ({_some(ignored)})" if ignored else "nothing at all"
        raise UserError(f"{folder} has no class folders but {files}; {layout}")
    return classes, ignored


def _files(folder: Path, inside: str, endings: frozenset[str], parents: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    """What lies below folder/inside, sorted, relative to `folder`, and whether it counts as an image.

    `parents` are real paths, against circular links.
    """
    real = os.path.realpath(folder / inside)
    if real in parents:
        return
    for entry in _entries(folder / inside):
        name = f"{inside}/{entry.name}"
        if not _is_dir(entry):
            yield name, _is_image(entry, endings)
        elif entry.name.startswith("."):
            yield name + "/", False
        else:
            yield from _files(folder, name, endings, (*parents, real))


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"cannot list folder {folder}: {error.strerror}; check its permissions") from error


def _is_image(entry: os.DirEntry, endings: frozenset[str]) -> bool:
    """Whether a file is an image, by its name and kind. A link that leads nowhere is one that cannot be read, which is
    told when it is."""
    if entry.name.startswith(".") or os.path.splitext(entry.name)[1].lower() not in endings:
        return False
    try:
        return entry.is_file() or not os.path.exists(entry.path)
    except OSError:  # a link in a circle, or into a folder that may not be entered
        return True


def _is_dir(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _some(names: list[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
