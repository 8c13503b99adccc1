"""A data set in MindRecord files, as make_mindrecord.py writes them from an image folder.

ROOT/mindrecord.json names the classes, the files of each split, ROOT/train-0-of-2.mindrecord and so on, and what
divided the images where folders did not. They are standard MindRecord files of `mindspore.mindrecord`, each with its
index (.db) beside it, and hold the columns `data` (bytes of the original image file), `label` (int32) and `file_name`
('CLASS/image.jpg', relative to the split's folder or the divided one).
Images are in the order of `ImageFolder`, one file of a split after the other.

The files are read directly. MindSpore reads them in a stream or by pages of one category, but has no access by index,
and a worker process would have to import it. The container (src/minddata/mindrecord in MindSpore): 8 bytes with the
length of a JSON header, the header, and from byte `header_size` on pages of `page_size` bytes. The table INDEXES of
the .db, an SQLite file, says for each row in which page and from where to where in it `data` lies, after 8 bytes with
its length.
"""

import io
import os
import sqlite3
from bisect import bisect_right
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np
from PIL import Image

from ..errors import UserError
from ..files.json_file import from_json
from .fingerprint import fingerprint
from .read_image import decode_image
from .reduced_decoding import Least
from .val_split import Division

MANIFEST = "mindrecord.json"
FORMAT = 1
LENGTH_BYTES = 8  # of the number before the header and before each `data`, little-endian
REMEDY = "delete it and run make_mindrecord.py again, which makes only what is missing"


@dataclass
class Shard:
    """One file of a split.

    Attributes:
        file: its name.
        images: how many it holds.
        source: digest of the names, labels, sizes and times of the image files that it is made of.
        bytes: size of the file; null as long as it is not finished.
        index_bytes: size of its .db; null as long as it is not finished.
    """

    file: str
    images: int
    source: str
    bytes: int | None = None
    index_bytes: int | None = None

    def check_files(self, root: Path) -> None:
        """Raises UserError unless the file and its index are there, in their whole length."""
        path = root / self.file
        for file, expected in ((path, self.bytes), (index_path(path), self.index_bytes)):
            try:
                size = file.stat().st_size
            except OSError as error:
                raise _unusable(path, f"{file.name}: {error.strerror}") from error
            if size != expected:
                raise _unusable(path, f"{file.name} has {size:,} bytes instead of {expected:,}")


@dataclass
class Manifest:
    """What mindrecord.json says.

    Attributes:
        classes: class names in label order.
        splits: the files of each split in the order of the images.
        division: what divided the images into training and validation; None where folders did.
    """

    classes: list[str]
    splits: dict[str, list[Shard]]
    division: Division | None = None

    @property
    def missing(self) -> int:
        """Number of files that are not finished."""
        return sum(shard.bytes is None for shards in self.splits.values() for shard in shards)

    @classmethod
    def read(cls, root: Path) -> "Manifest | None":
        """None where `root` has no such file; UserError where it is damaged or of another version."""
        path = root / MANIFEST
        try:
            content = from_json(path.read_text(encoding="utf-8-sig"))
            version = content["format"]
            splits = {split: [Shard(**shard) for shard in content["splits"][split]] for split in ("train", "val")}
            division = content.get("division")
            manifest = cls(content["classes"], splits, None if division is None else Division(**division))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged ({type(error).__name__}: {error}); make its folder again") from error
        if version != FORMAT:
            raise UserError(f"{path} has format {version}, this version of the project reads {FORMAT}")
        return manifest


@dataclass(frozen=True)
class Index:
    """Where the images of one file are, in their order: arrays (n,)."""

    labels: np.ndarray  # int32
    starts: np.ndarray  # int64, position of the length before `data`
    sizes: np.ndarray  # int64, bytes of `data`


class MindRecord:
    """One split; an image is read when it is asked for, from any thread, and in any process that it is sent to.

    Attributes:
        classes: class names in label order.
        division: see `Manifest`.

    Args:
        root: folder that make_mindrecord.py wrote.
        split: 'train' or 'val'.

    Raises:
        UserError: another split; a folder without mindrecord.json or with an unfinished one; a file or index that is
            missing, cut short or another one's. At reading: a broken image, by the name of its original file.
    """

    def __init__(self, root: str | Path, split: str) -> None:
        if split not in ("train", "val"):
            raise UserError(f"unknown split {split!r}: expected 'train' or 'val'")
        root = Path(root)
        manifest = Manifest.read(root)
        if manifest is None:
            raise UserError(f"{root} holds no {MANIFEST}; expected a folder that make_mindrecord.py wrote")
        if manifest.missing:
            raise UserError(
                f"{root} is unfinished, {manifest.missing} files are missing; run make_mindrecord.py again to continue"
            )
        shards = manifest.splits[split]
        indices = []
        for shard in shards:
            shard.check_files(root)
            indices.append(read_index(root / shard.file))
            if len(indices[-1].labels) != shard.images:
                raise _unusable(
                    root / shard.file, f"its index has {len(indices[-1].labels)} images instead of {shard.images}"
                )
        self.classes, self.division = manifest.classes, manifest.division
        self._split, self._sources = split, [shard.source for shard in shards]
        self._paths = [root / shard.file for shard in shards]
        self._ends = list(accumulate(shard.images for shard in shards))
        self._labels = np.concatenate([index.labels for index in indices])
        self._starts = np.concatenate([index.starts for index in indices])
        self._sizes = np.concatenate([index.sizes for index in indices])
        self._files: dict[int, BinaryIO] = {}  # open ones, of this process
        self._names: dict[int, list[str]] = {}  # of the images of a shard, where they were asked for

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}, "_names": {}}

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self._decode(index, None), self.label(index)

    def reduced(self, index: int, least: Least) -> tuple[Image.Image, int]:
        """The same, of at least the size that `least` says."""
        return self._decode(index, least), self.label(index)

    def _decode(self, index: int, least: Least | None) -> Image.Image:
        return decode_image(io.BytesIO(self.read(index)), lambda: self.describe(index), least)

    def label(self, index: int) -> int:
        return int(self._labels[index])

    def fingerprint(self) -> str:
        return fingerprint(self._sources, self._labels)

    def read(self, index: int) -> bytes:
        """The original image file."""
        shard = bisect_right(self._ends, index)
        file = self._files.get(shard)
        if file is None:
            try:
                file = self._files.setdefault(shard, open(self._paths[shard], "rb", buffering=0))
            except OSError as error:
                raise _unusable(self._paths[shard], error.strerror or str(error)) from error
        return read_data(file, self._paths[shard], int(self._starts[index]), int(self._sizes[index]))

    def describe(self, index: int) -> str:
        """The name of the original image file, and the file that now holds it."""
        shard = bisect_right(self._ends, index)
        first = self._ends[shard - 1] if shard else 0
        if shard not in self._names:
            self._names[shard] = read_file_names(self._paths[shard])
        return f"{self._split}/{self._names[shard][index - first]} (in {self._paths[shard]})"


def index_path(path: Path) -> Path:
    """The index of a MindRecord file."""
    return path.with_name(path.name + ".db")


def read_index(path: Path) -> Index:
    """Where the images of a MindRecord file are.

    Raises:
        UserError: the file's header or its index cannot be read.
    """
    try:
        with open(path, "rb") as file:
            header = from_json(file.read(int.from_bytes(file.read(LENGTH_BYTES), "little")).decode("utf-8"))
        header_size, page_size = int(header["header_size"]), int(header["page_size"])
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError, MemoryError, OverflowError) as error:
        raise _unusable(path, f"its header is damaged ({type(error).__name__})") from error
    rows = _query(path, "label_0, PAGE_ID_BLOB, PAGE_OFFSET_BLOB, PAGE_OFFSET_BLOB_END")
    labels, pages, starts, ends = np.array(rows, np.int64).reshape(-1, 4).T
    return Index(labels.astype(np.int32), header_size + pages * page_size + starts, ends - starts - LENGTH_BYTES)


def read_file_names(path: Path) -> list[str]:
    """Column `file_name` of a MindRecord file."""
    return [name for (name,) in _query(path, "file_name_0")]


def read_data(file: BinaryIO, path: Path, start: int, size: int) -> bytes:
    """One value of column `data`, from an open file without its position, so that threads do not disturb each other.

    Args:
        file: the open file.
        path: its name, for messages.
        start, size: as in `Index`.

    Raises:
        UserError: the file ends there, or something else is there.
    """
    try:
        read = os.pread(file.fileno(), LENGTH_BYTES + size, start)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    if len(read) < LENGTH_BYTES + size:
        raise _unusable(path, f"it is cut short: no image of {size:,} bytes at byte {start:,}")
    if int.from_bytes(read[:LENGTH_BYTES], "little") != size:
        raise _unusable(path, f"its index does not belong to it: no image of {size:,} bytes at byte {start:,}")
    return read[LENGTH_BYTES:]


def _query(path: Path, columns: str) -> list[tuple]:
    index = index_path(path)
    try:
        # immutable: no locks, which network file systems lack, and nothing is written beside it
        with closing(sqlite3.connect(f"file:{quote(str(index.absolute()))}?immutable=1", uri=True)) as database:
            return database.execute(f"SELECT {columns} FROM INDEXES ORDER BY ROW_ID").fetchall()
    except sqlite3.Error as error:
        raise _unusable(path, f"its index {index.name} cannot be read: {error}") from error


def _unusable(path: Path, reason: str) -> UserError:
    return UserError(f"MindRecord file {path} cannot be used: {reason}; {REMEDY}")
