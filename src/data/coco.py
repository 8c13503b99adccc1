"""Images with boxes in COCO layout: a JSON file of images, annotations and categories, and a folder of images.

Which boxes count follows mmdetection's CocoDataset: without those of no area, of a side below one pixel, or wholly
outside their image. Boxes are not clipped here. Crowds (`iscrowd` 1) are kept and flagged. Images come in the order of
the file; of training images those are left out that have no box that is no crowd, or a side below 32 pixels.

The file is read once, into arrays. Its segmentations are checked for their form and kept as they are; where masks are
not needed they need not be kept, which for COCO's 860,000 saves about 400 MB in each process.
"""

import json
import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NoReturn

import numpy as np
from PIL import Image

from ..errors import UserError, shown
from .fingerprint import fingerprint
from .masks import decode_masks, is_run_length_code
from .read_image import read_image

MIN_TRAINING_SIDE = 32
LARGEST_ID = 2**63 - 1
LARGEST_SIDE = 2**31 - 1
LAYOUT = "expected ROOT/annotations/instances_train2017.json and ROOT/train2017/, and the same for val2017"
FIX = "correct or remove that entry"
_SEGMENTATION = "a list of polygons [x, y, x, y ...] of three points or more, or a run-length code of the image's size"


@dataclass(frozen=True)
class Objects:
    """What is annotated in one image of (height, width) pixels, n objects in the order of the file.

    Attributes:
        boxes: (n, 4) float32, x0 y0 x1 y1 in pixels; not clipped to the image.
        labels: (n,) int32, index into `Coco.classes`.
        is_crowd: (n,) bool, whether it is a group of objects that were not told apart.
        area: (n,) float32, pixels of the object.
        segmentations: n entries as in the file: a list of polygons [x, y, x, y ...], a run-length code
            {"size": [height, width], "counts": ...}, or None where there is none or none were kept.
    """

    boxes: np.ndarray
    labels: np.ndarray
    is_crowd: np.ndarray
    area: np.ndarray
    segmentations: list[Any]


class Coco:
    """One split of a data set in COCO layout; an image is read when it is asked for.

    Attributes:
        classes: names of the categories in the order of their ids, which is that of labels.
        category_ids: their ids in the same order.
        annotations_file: the JSON file.
        num_images, num_boxes: of the file, with what is left out here.
        max_objects: the largest number of objects in an image, without crowds.

    Args:
        root: folder that holds the annotations and the images.
        split: 'train' or 'val'.
        annotations: the JSON file, relative to `root`; when None annotations/instances_{split}2017.json, or if that
            is absent annotations/instances_{split}.json.
        images: the folder of images, relative to `root`; when None {split}2017, or if that is absent {split}.
        for_training: whether images that training cannot use are left out.
        keep_segmentations: whether `objects` has them, and `masks` can be asked for.
        needs_masks: whether every object that is no crowd must have a segmentation; they are kept then in any case.

    Raises:
        UserError: another split, a missing file or folder, no JSON, an entry that is not as COCO describes it (by its
            id and field), a segmentation that is needed and missing, or nothing that is left. At reading: a broken
            image, or one of another size, by its name.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        annotations: str | Path | None = None,
        images: str | Path | None = None,
        *,
        for_training: bool = False,
        keep_segmentations: bool = True,
        needs_masks: bool = False,
    ) -> None:
        if split not in ("train", "val"):
            raise UserError(f"unknown split {split!r}: expected 'train' or 'val'")
        root = Path(root)
        if not root.is_dir():
            raise UserError(f"data folder {root} does not exist or is no folder; {LAYOUT}")
        named = f"annotations/instances_{split}2017.json", f"annotations/instances_{split}.json"
        self.annotations_file = _existing(root, annotations, named, Path.is_file, "file of annotations")
        self._folder = _existing(root, images, (f"{split}2017", split), Path.is_dir, "folder of images")
        content = _Content(self.annotations_file, keep_segmentations or needs_masks)
        self.classes, self.category_ids = content.classes, content.category_ids
        self.num_images, self.num_boxes = len(content.names), len(content.boxes)
        self._segments = content.segments

        keep = _kept_boxes(content)
        image_of_box = content.image_of_box[keep]
        chosen = np.ones(self.num_images, bool)
        if for_training:
            chosen[:] = False
            chosen[image_of_box[~content.is_crowd[keep]]] = True
            chosen &= content.sizes.min(axis=1) >= MIN_TRAINING_SIDE
            if not chosen.any():
                raise UserError(
                    f"{self.annotations_file} has no image to train on: none of its {self.num_images:,} images has a "
                    f"side of at least {MIN_TRAINING_SIDE} pixels and a box with an area that is no crowd; add some"
                )
        in_order = np.argsort(image_of_box, kind="stable")
        in_order = in_order[chosen[image_of_box[in_order]]]
        rows = keep[in_order]  # of the file's boxes, those that stay, image by image
        counts = np.bincount(content.image_of_box[rows], minlength=self.num_images)[chosen]
        single = rows[~content.is_crowd[rows]]
        if needs_masks:
            content.check_segmentations(single)
        self.max_objects = int(np.bincount(content.image_of_box[single]).max(initial=0))
        self._ends = np.cumsum(counts)  # (images,) where the boxes of each end
        self._rows = rows
        self._boxes, self._labels = content.boxes[rows].astype(np.float32), content.labels[rows]
        self._is_crowd, self._area = content.is_crowd[rows], content.area[rows].astype(np.float32)
        self._sizes, self._image_ids = content.sizes[chosen], content.image_ids[chosen]
        self._names = [name for name, stays in zip(content.names, chosen.tolist(), strict=True) if stays]

    def __len__(self) -> int:
        return len(self._names)

    def image(self, index: int) -> Image.Image:
        """The image in RGB; its size is the annotated one."""
        image = read_image(self.path(index))
        if (image.height, image.width) != self.size(index):
            height, width = self.size(index)
            raise UserError(
                f"image {self.path(index)} is {image.width} x {image.height} pixels, but {self.annotations_file} says "
                f"{width} x {height} (width x height); boxes would not fit: get the image or the annotations again"
            )
        return image

    def path(self, index: int) -> Path:
        return self._folder / self._names[index]

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) in pixels, without reading the image."""
        height, width = self._sizes[index].tolist()
        return height, width

    def image_id(self, index: int) -> int:
        """Its id in the file."""
        return int(self._image_ids[index])

    def objects(self, index: int) -> Objects:
        own = self._own(index)
        return Objects(
            self._boxes[own].copy(),
            self._labels[own].copy(),
            self._is_crowd[own].copy(),
            self._area[own].copy(),
            [self._segments.segmentation(row) for row in self._rows[own].tolist()],
        )

    def masks(self, index: int) -> np.ndarray:
        """Of the objects that are no crowd, in their order: (n, height, width) uint8, 1 where the object is.

        Raises:
            UserError: one has no segmentation, or pycocotools is not installed.
        """
        own = self._own(index)
        rows = self._rows[own][~self._is_crowd[own]].tolist()
        segmentations = [self._segments.segmentation(row) for row in rows]
        if None in segmentations:
            raise UserError(
                f"{self.annotations_file}: image {self.image_id(index)} has objects without a segmentation, of which "
                "there is no mask: use data with segmentations"
            )
        return decode_masks(segmentations, self.size(index))

    def describe(self, index: int) -> str:
        return str(self.path(index))

    def describe_ignored(self) -> str | None:
        """One line that says how much of the file is left out, None where that is nothing."""
        images, boxes = self.num_images - len(self), self.num_boxes - len(self._boxes)
        if not images and not boxes:
            return None
        return (
            f"{self.annotations_file}: left out {images:,} of {self.num_images:,} images and {boxes:,} of "
            f"{self.num_boxes:,} boxes, which are empty, too small or outside their image"
        )

    def fingerprint(self) -> str:
        """See `src.data.fingerprint`; of the images, classes and boxes that are left."""
        values = [self._sizes.ravel(), self._ends, self._labels, self._is_crowd, self._boxes.ravel().view(np.int32)]
        numbers = np.concatenate([value.astype(np.int64) for value in values])
        return fingerprint([*self.classes, *self._names], numbers.tolist())

    def _own(self, index: int) -> slice:
        """Where the boxes of an image are."""
        return slice(int(self._ends[index - 1]) if index else 0, int(self._ends[index]))


def _existing(
    root: Path, given: str | Path | None, usual: tuple[str, ...], exists: Callable[[Path], bool], what: str
) -> Path:
    names = usual if given is None else (given,)
    for name in names:
        if exists(root / name):
            return root / name
    raise UserError(f"data folder {root} has no {what} {' or '.join(str(name) for name in names)}; {LAYOUT}")


def _kept_boxes(content: "_Content") -> np.ndarray:
    """Rows of the boxes that count, in their order."""
    height, width = content.sizes[content.image_of_box].T
    x0, y0, x1, y1 = content.boxes.T
    inside = (np.minimum(x1, width) > np.maximum(x0, 0)) & (np.minimum(y1, height) > np.maximum(y0, 0))
    return np.flatnonzero(inside & (content.area > 0) & (content.sides >= 1).all(axis=1))


class _Content:
    """A file as arrays: `names`, `sizes` (i, 2), `image_ids` (i,) of images; `boxes` (n, 4) float64, `sides` (n, 2),
    `image_of_box`, `labels`, `is_crowd`, `area`, `annotation_ids` (n,) and `segments` of annotations."""

    def __init__(self, path: Path, keep_segmentations: bool) -> None:
        self._path = path
        content = _read(path)
        self.category_ids, self.classes = self._categories(content["categories"])
        self.names, self.sizes, self.image_ids = self._images(content["images"])
        self.segments = _Segments()
        self._annotations(content["annotations"], keep_segmentations)

    def _categories(self, entries: list[Any]) -> tuple[list[int], list[str]]:
        names: dict[int, str] = {}
        for place, entry in enumerate(entries):
            number = self._id("category", place, entry, names)
            name = entry.get("name")
            if not isinstance(name, str) or not name.strip():
                self._wrong(f"category {number}", "name", "text", entry)
            if name in names.values():
                self._wrong(f"category {number}", "name", "a name that no other category has", entry)
            names[number] = name
        ids = sorted(names)
        return ids, [names[number] for number in ids]

    def _images(self, entries: list[Any]) -> tuple[list[str], np.ndarray, np.ndarray]:
        names: list[str] = []
        sizes: list[tuple[int, int]] = []
        ids: dict[int, None] = {}
        for place, entry in enumerate(entries):
            number = self._id("image", place, entry, ids)
            name = entry.get("file_name")
            if not _stays_inside(name):
                self._wrong(f"image {number}", "file_name", "a file in the folder of images", entry)
            for side in ("height", "width"):
                if not _is_whole(entry.get(side), 1, LARGEST_SIDE):
                    self._wrong(f"image {number}", side, "a whole number of at least 1 pixel", entry)
            names.append(name)
            sizes.append((entry["height"], entry["width"]))
            ids[number] = None
        return names, np.array(sizes, np.int64), np.array(list(ids), np.int64)

    def _annotations(self, entries: list[Any], keep_segmentations: bool) -> None:
        image_at = {number: place for place, number in enumerate(self.image_ids.tolist())}
        label_of = {number: label for label, number in enumerate(self.category_ids)}
        sizes = self.sizes.tolist()
        ids: dict[int, None] = {}
        values, places, labels, crowds = array("d"), array("q"), array("i"), array("b")  # of a box: x y w h area
        for place, entry in enumerate(entries):
            number = self._id("annotation", place, entry, ids)
            ids[number] = None
            name = f"annotation {number}"
            image, category = entry.get("image_id"), entry.get("category_id")
            if type(image) is not int or image not in image_at:
                self._wrong(name, "image_id", "the id of an image of this file", entry)
            if type(category) is not int or category not in label_of:
                self._wrong(name, "category_id", "the id of a category of this file", entry)
            box, area, crowd = entry.get("bbox"), entry.get("area"), entry.get("iscrowd", 0)
            if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)) or min(box[2:]) < 0:
                self._wrong(name, "bbox", "four numbers [x, y, width, height], the last two not negative", entry)
            if not _is_number(area) or area < 0:
                self._wrong(name, "area", "a number of pixels, not negative", entry)
            if type(crowd) not in (int, bool) or crowd not in (0, 1):
                self._wrong(name, "iscrowd", "0 or 1", entry)
            if keep_segmentations and not self.segments.add(entry.get("segmentation"), sizes[image_at[image]]):
                self._wrong(name, "segmentation", _SEGMENTATION, entry)
            values.extend(box)
            values.append(area)
            places.append(image_at[image])
            labels.append(label_of[category])
            crowds.append(crowd)
        numbers = np.array(values, np.float64).reshape(-1, 5)
        self.boxes, self.sides, self.area = numbers[:, :4].copy(), numbers[:, 2:4], numbers[:, 4]
        self.boxes[:, 2:] += self.boxes[:, :2]
        self.image_of_box, self.labels = np.array(places, np.int64), np.array(labels, np.int32)
        self.is_crowd, self.annotation_ids = np.array(crowds, bool), np.array(list(ids), np.int64)
        self.segments.close()

    def check_segmentations(self, rows: np.ndarray) -> None:
        """Raises UserError unless these annotations have one."""
        missing = rows[~self.segments.there(rows)]
        if len(missing):
            self._wrong(f"annotation {self.annotation_ids[missing.min()]}", "segmentation", _SEGMENTATION, {})

    def _id(self, kind: str, place: int, entry: Any, known: Any) -> int:
        if not isinstance(entry, dict):
            expected = f"expected an object with the fields of an {kind}".replace("an category", "a category")
            raise UserError(f"{self._path}: {kind} at place {place}, from 0: {expected}, got {shown(entry)}; {FIX}")
        number = entry.get("id")
        if not _is_whole(number, -LARGEST_ID, LARGEST_ID):
            self._wrong(f"{kind} at place {place}, from 0", "id", "a whole number", entry)
        if number in known:
            self._wrong(f"{kind} at place {place}, from 0", "id", f"an id that no other {kind} has", entry)
        return number

    def _wrong(self, name: str, field: str, expected: str, entry: dict[str, Any]) -> NoReturn:
        got = f"got {shown(entry[field])}" if field in entry else "but it is missing"
        raise UserError(f"{self._path}: {name}: {field!r} must be {expected}, {got}; {FIX}")


class _Segments:
    """Segmentations one after another: polygons in flat arrays, other ones as they are."""

    def __init__(self) -> None:
        self._others: dict[int, dict[str, Any]] = {}  # row -> run-length code
        self._numbers = array("d")
        self._ends_of_polygons = array("q", [0])
        self._ends_of_rows = array("q", [0])  # in polygons

    def add(self, segmentation: Any, size: list[int]) -> bool:
        """Whether it is one, of an image of `size`; then it is kept."""
        if isinstance(segmentation, dict):
            if not is_run_length_code(segmentation, size):
                return False
            self._others[len(self._ends_of_rows) - 1] = segmentation
        elif isinstance(segmentation, list):
            for polygon in segmentation:
                if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
                    return False
                try:
                    self._numbers.extend(polygon)
                    is_finite = math.isfinite(sum(polygon))  # NaN and infinity stay in a sum
                except (TypeError, OverflowError):
                    return False
                if not is_finite or bool in map(type, polygon):
                    return False
                self._ends_of_polygons.append(len(self._numbers))
        elif segmentation is not None:
            return False
        self._ends_of_rows.append(len(self._ends_of_polygons) - 1)
        return True

    def close(self) -> None:
        """Nothing is added any more."""
        self._numbers = np.array(self._numbers, np.float64)
        self._ends_of_polygons = np.array(self._ends_of_polygons, np.int64)
        self._ends_of_rows = np.array(self._ends_of_rows, np.int64)

    def there(self, rows: np.ndarray) -> np.ndarray:
        """(n,) bool: whether each of these rows has one, after `close`."""
        of_polygons = self._ends_of_rows[rows + 1] > self._ends_of_rows[rows]
        return of_polygons | np.isin(rows, np.array(list(self._others), np.int64))

    def segmentation(self, row: int) -> Any:
        """As it was added; an empty list comes back as None."""
        if row in self._others:
            return self._others[row]
        if row + 1 >= len(self._ends_of_rows):
            return None
        first, end = self._ends_of_rows[row : row + 2].tolist()
        ends = self._ends_of_polygons[first : end + 1].tolist()
        return [self._numbers[a:b].tolist() for a, b in zip(ends[:-1], ends[1:], strict=True)] or None


def _read(path: Path) -> dict[str, list[Any]]:
    """The three lists of a file, none of them empty."""
    again = "get the file again or name another one"
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise UserError(f"{path} is no JSON ({reason}); {again}") from None
    for name in ("images", "annotations", "categories"):
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not entries:
            state = "has an empty list" if entries == [] else "has no list"
            raise UserError(
                f"{path} {state} {name!r}; expected a COCO file of instances, an object with the lists 'images', "
                f"'annotations' and 'categories', none of them empty: {again}"
            )
    return content


def _is_whole(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _is_number(value: Any) -> bool:
    """Whether it is finite and single precision can hold it."""
    return type(value) in (int, float) and -1e30 < value < 1e30


def _stays_inside(name: Any) -> bool:
    """Whether it is the name of a file in a folder or below it, on any system."""
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or path.drive or ".." in path.parts or not path.name:
            return False
    return True
