"""Images that a text file lists with their labels (`data.source: list`).

A line is a file and its class name, with a comma or a tab between them: 'birds/1.jpg,crane'. Where the first line has a
tab, tabs divide all lines and quotes mean nothing; else commas do, and a part with a comma stands in double quotes, as
in CSV. Where the first line names a column of files and one of labels, it is a header, and other columns are left out.

Files are relative to the data folder, or without one to the list's own folder; absolute ones must lie below it. Classes
are those of the training list, sorted by code point, as of class folders.
"""

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError, counted, printable, shown
from ..files.text_lines import read_lines
from .class_list import LONGEST_LABEL, ClassList
from .labelled_files import LabelledFiles
from .labels import named, one_spelling
from .val_split import Division, ValSplit

FILE_COLUMNS = ("file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path")
LABEL_COLUMNS = ("label", "class", "class_name", "category")
CONTENT = "a file and its label on each line, with a comma or tab between them"
SHOWN = 10


class ListedImage(NamedTuple):
    """A line of a list: the file relative to the folder of images, and the class name."""

    file: str
    label: str


class ImageList(LabelledFiles):
    """One split; an image is read when it is asked for.

    Attributes:
        classes: labels in their order.
        left_out: classes that the chosen ones lack.
        division: what divided the images into training and validation; None where two lists do.

    Args:
        root: folder that the files are relative to; that of each list when None.
        split: 'train' or 'val'.
        train_list: file with the training images; none needed where the validation images are evaluated alone.
        val_list: the same of validation; None with `val_split`.
        classes: those that count; all when None.
        val_split: how the images of each class of `train_list` are divided.

    Raises:
        UserError: another split, a list that is not given or cannot be read, or has wrong lines (`read_image_list`); an
            image in both lists, a class of validation that training does not have, one of `classes` that there is none
            of, or with `val_split` a class of one image. At reading: a broken image, by its name.
    """

    def __init__(
        self,
        root: str | Path | None,
        split: str,
        train_list: str | Path | None,
        val_list: str | Path | None = None,
        classes: ClassList | None = None,
        val_split: ValSplit | None = None,
    ) -> None:
        if split not in ("train", "val"):
            raise UserError(f"unknown split {split!r}: expected 'train' or 'val'")
        if val_split is not None and val_list is not None:
            raise UserError("data.val_split divides data.train_list: leave it or data.val_list out")
        if root is not None and not Path(root).is_dir():
            raise UserError(
                f"data folder {root} does not exist or is no folder; expected what the lists are relative to"
            )
        own = train_list if split == "train" or val_split is not None else val_list
        if own is None:
            key = "data.train_list" if split == "train" or val_split is not None else "data.val_list"
            instead = "" if split == "train" else " (or data.val_split, which divides data.train_list)"
            raise UserError(f"data source 'list' needs {key}{instead}: a text file with {CONTENT}")
        self._path, folder = Path(own), _folder_of(own, root)
        images = read_image_list(own, root)
        all_names, source = _names(images), own
        if own is val_list and train_list is not None:
            others = read_image_list(train_list, root, check_files=False)
            _check_apart(images, folder, val_list, others, _folder_of(train_list, root), train_list)
            all_names, source = _names(others), train_list
            if classes is None and (unknown := [name for name in _names(images) if name not in all_names]):
                raise UserError(
                    f"{val_list} has classes that {train_list} does not have: {named(unknown)}; rename or remove them, "
                    "or add their training images"
                )
        self._class_list = classes or ClassList(all_names, all_names)
        self._class_list.check_are_there(all_names, source)
        numbers = {name: self._class_list.number_of(name) for name in _names(images)}
        self.left_out = [name for name, number in numbers.items() if number is None]
        images = [image for image in images if numbers[image.label] is not None]
        if not images:
            raise UserError(f"{own} has none of the classes that {self._class_list.path} names: add their images")
        self.division: Division | None = None
        if val_split is not None:
            files_of: dict[str, list[str]] = {}
            for image in images:
                files_of.setdefault(image.label, []).append(image.file)
            chosen, self.division = val_split.divide(files_of, own)
            images = [image for image in images if (image.file in chosen) == (split == "val")]
        files, labels = [image.file for image in images], [numbers[image.label] for image in images]
        super().__init__(folder, files, labels, self._class_list.labels)

    def describe_ignored(self) -> str | None:
        """One line that names what is left out, None where that is nothing."""
        if not self.left_out:
            return None
        count = counted(len(self.left_out), "class", "classes")
        return f"{self._path}: left out {count} that {self._class_list.path} does not name: {named(self.left_out)}"


def read_image_list(path: str | Path, root: str | Path | None = None, check_files: bool = True) -> list[ListedImage]:
    """The images of a list, in its order.

    Args:
        path: UTF-8 text, with or without a byte-order mark and carriage returns.
        root: folder that the files are relative to; the list's own when None.
        check_files: whether the files must be there.

    Raises:
        UserError: it cannot be read, or one message about all its lines that are wrong: without a file and a label,
            with a label that is no name, a file that is outside of the folder, missing, or named before.
    """
    path = Path(path)
    lines = read_lines(path, CONTENT)
    is_tabbed = "\t" in lines[0]
    rows = [_cells(line, is_tabbed) for line in lines]
    columns = _columns(rows[0], path)
    first, width = (0, 2) if columns is None else (1, len(rows[0] or ()))
    file_column, label_column = columns or (0, 1)
    folder = _folder_of(path, root)
    problems = _Problems()
    images: list[ListedImage] = []
    lines_of: dict[str, int] = {}
    for number, row in enumerate(rows[first:], start=first + 1):
        if row is None or len(row) != width:
            problems.add("line", "lines", f"without {counted(width, 'part')}", f"{number} ({shown(lines[number - 1])})")
            continue
        listed, label = row[file_column], one_spelling(row[label_column])
        if not label:
            problems.add("label", "labels", "empty", f"line {number}")
        elif not label.isprintable() or len(label) > LONGEST_LABEL:
            problems.add("label", "labels", "no printable name", f"line {number} ({shown(label)})")
        file = _below(folder, listed)
        said = f"{printable(listed)} (line {number})"
        if not listed:
            problems.add("file", "files", "without a name", f"line {number}")
        elif file is None:
            problems.add("file", "files", f"not below {folder}", said)
        elif (earlier := lines_of.setdefault(file, number)) != number:
            problems.add("file", "files", "named twice", f"{printable(listed)} (lines {earlier} and {number})")
        elif check_files and not os.path.isfile(folder / file):
            problems.add("file", "files", f"not in {folder}", said)
        else:
            images.append(ListedImage(file, label))
    if problems:
        raise UserError(f"{path}: expected {CONTENT}; {problems}: correct the list, or give another data.root")
    if not images:
        raise UserError(f"{path}: expected {CONTENT}; there is a header only")
    return images


class _Problems:
    """What is wrong with a list, kind by kind."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], list[str]] = {}

    def add(self, noun: str, plural: str, kind: str, said: str) -> None:
        self._found.setdefault((noun, plural, kind), []).append(said)

    def __bool__(self) -> bool:
        return bool(self._found)

    def __str__(self) -> str:
        return "; ".join(
            f"{counted(len(found), noun, plural)} {kind}: {', '.join(found[:SHOWN])}"
            + (f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else "")
            for (noun, plural, kind), found in self._found.items()
        )


def _cells(line: str, is_tabbed: bool) -> list[str] | None:
    """The parts of a line; None where its quotes are wrong."""
    if is_tabbed:
        return [cell.strip() for cell in line.split("\t")]
    try:
        return [cell.strip() for cell in next(csv.reader([line], strict=True, skipinitialspace=True))]
    except (csv.Error, StopIteration):
        return None


def _columns(row: Sequence[str] | None, path: Path) -> tuple[int, int] | None:
    """Where a header has files and labels; None where the row is none.

    Raises:
        UserError: it has several columns for one of them.
    """
    places = []
    for known in (FILE_COLUMNS, LABEL_COLUMNS):
        found = [number for number, cell in enumerate(row or ()) if cell.casefold() in known]
        places.append(found)
    if not all(places):
        return None
    for found in places:
        if len(found) > 1:
            names = " and ".join(row[number] for number in found)
            raise UserError(f"{path}: its header has {names}, which mean the same here: rename all but one")
    return places[0][0], places[1][0]


def _folder_of(path: str | Path, root: str | Path | None) -> Path:
    """What a list's files are relative to."""
    return Path(path).parent if root is None else Path(root)


def _below(folder: Path, file: str) -> str | None:
    """A listed file relative to `folder`, in one spelling of its path; None where it is not below it."""
    if "\0" in file:
        return None
    relative = os.path.relpath(file, folder) if os.path.isabs(file) else os.path.normpath(file)
    return None if relative.split("/")[0] in ("..", ".") else relative


def _names(images: Iterable[ListedImage]) -> list[str]:
    return sorted({image.label for image in images})


def _check_apart(
    val: Sequence[ListedImage], val_folder: Path, val_list: object,
    train: Sequence[ListedImage], train_folder: Path, train_list: object,
) -> None:  # fmt: skip
    """Raises UserError where an image is in both lists."""
    val_folder, train_folder = Path(os.path.abspath(val_folder)), Path(os.path.abspath(train_folder))
    trained = {os.path.join(train_folder, image.file) for image in train}
    if both := [printable(image.file) for image in val if os.path.join(val_folder, image.file) in trained]:
        raise UserError(
            f"{counted(len(both), 'image')} of {val_list} {'is' if len(both) == 1 else 'are'} in {train_list} too: "
            f"{named(both)}; a network is judged on images that it was not trained on: remove them from one list"
        )
