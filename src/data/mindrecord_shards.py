"""Packs an image folder into MindRecord files, one after the other; src/data/mindrecord.py reads them.

A file is written in OUTPUT/.unfinished, read back, compared with the images it was made of, flushed to the disk and
only then moved to its place and entered in mindrecord.json. So whatever is entered there is whole, and an interrupted
run continues after the last such file. The names stay: a MindRecord file holds its own, and MindSpore refuses another.

Each file of a split is a MindRecord file with one shard, since MindSpore's own sharding writes all files at once, image
by image in turn: nothing would be finished before everything is.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..errors import UserError, counted
from ..files.json_file import write_json
from ..terminal.progress import Progress, print_line
from .class_list import ClassList
from .image_folder import ImageFolder
from .mindrecord import (
    FORMAT,
    MANIFEST,
    Manifest,
    MindRecord,
    Shard,
    index_path,
    read_data,
    read_file_names,
    read_index,
)
from .val_split import ValSplit

SPLITS = ("train", "val")
SCHEMA = {"data": {"type": "bytes"}, "label": {"type": "int32"}, "file_name": {"type": "string"}}
UNFINISHED = ".unfinished"
SHARD_BYTES = 4_000_000_000  # of images in a file, unless a number of files is asked for
MAX_SHARDS = 256  # a split; MindSpore and `MindRecord` keep all of them open, and 1,024 open files are a common limit
MIN_PAGE, MAX_PAGE, LARGEST_PAGE = 1 << 16, 1 << 24, 1 << 28  # bytes; the last is MindSpore's own limit
MIN_HEADER, PAGE_ENTRY = 1 << 14, 1 << 9  # bytes; the header is JSON with an entry a page
SPARE_BYTES = 16 << 20  # MindSpore writes nothing on a disk with less than 10 MB left
SECONDS_BETWEEN_LINES = 30
AGAIN = "finished files are kept, run the same command again once that is mended"
ROW_BYTES = 160  # a row's label, keys and place, in a page and in the index, without the file name


class Split:
    """One split of an image folder, cut into `num_shards` runs of images in the order of `ImageFolder`.

    Attributes:
        images: the images and their labels.
        labels: label of each image.
        names: file names relative to the split's folder or the divided one, as text that UTF-8 can hold.
        sizes: bytes of each file, (n,).
        bounds: shard k has the images bounds[k] to bounds[k + 1] - 1.
        shards: what is entered in mindrecord.json, unfinished.

    Raises:
        UserError: what `ImageFolder` raises, a file that is missing, or an image empty or too large for MindRecord.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        num_shards: int | None,
        classes: ClassList | None = None,
        val_split: ValSplit | None = None,
    ) -> None:
        self.images = ImageFolder(folder, split, classes, val_split)
        self.labels = [self.images.label(i) for i in range(len(self.images))]
        files = [self.images.path(i) for i in range(len(self.images))]
        names = [self.images.name(i) for i in range(len(files))]
        self.names = [name.encode("utf-8", "backslashreplace").decode() for name in names]
        try:
            stats = [file.stat() for file in files]
        except OSError as error:
            raise UserError(f"cannot read image {error.filename}: {error.strerror}; replace or remove it") from error
        self.sizes = np.array([stat.st_size for stat in stats], np.int64)
        if empty := [str(files[i]) for i in np.flatnonzero(self.sizes == 0)]:
            more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
            raise UserError(
                f"MindRecord cannot hold empty files, but these images are: {', '.join(empty[:5])}{more}; "
                "replace them by readable images or remove them"
            )
        if self.sizes.max() > LARGEST_PAGE - 8:
            raise UserError(
                f"image {files[int(self.sizes.argmax())]} has {self.sizes.max():,} bytes; "
                f"MindRecord takes at most {LARGEST_PAGE - 8:,}: replace it by a smaller one or remove it"
            )
        count = min(num_shards or -(-int(self.sizes.sum()) // SHARD_BYTES) or 1, MAX_SHARDS, len(files))
        self.bounds = [k * len(files) // count for k in range(count + 1)]
        self.shards = []
        for k in range(count):
            run = range(self.bounds[k], self.bounds[k + 1])
            digest = hashlib.sha256()
            for i in run:
                digest.update(f"{self.names[i]}\0{self.labels[i]}\0{stats[i].st_size}\0".encode())
                digest.update(f"{stats[i].st_mtime_ns}\0".encode())
            file = f"{split}-{k:0{len(str(count - 1))}}-of-{count}.mindrecord"
            self.shards.append(Shard(file, len(run), digest.hexdigest()))

    def layout(self) -> tuple[int, int]:
        """Header and page size in bytes, powers of two and the same for all files, as MindSpore wants them.

        Every file has at least a header and two pages, so pages are small for small data; a page holds whole images, so
        the largest one has to fit.
        """
        largest = max(int(self.sizes[a:b].sum()) for a, b in zip(self.bounds, self.bounds[1:], strict=False))
        page = max(MIN_PAGE, min(MAX_PAGE, _power_of_two(largest // 64)), _power_of_two(int(self.sizes.max()) + 8))
        rows = max(shard.images for shard in self.shards)
        name = max(len(name.encode()) for name in self.names)
        num_pages = 2 * (largest + rows * 8) // page + rows * (ROW_BYTES + name) // page + 4
        return max(MIN_HEADER, _power_of_two(num_pages * PAGE_ENTRY)), page

    def num_bytes(self) -> int:
        """The approximate size of all files and their indices."""
        header, page = self.layout()
        names = sum(len(name.encode()) for name in self.names)
        rows = len(self.names) * 2 * ROW_BYTES + 2 * names
        return int(self.sizes.sum()) + rows + len(self.shards) * (header + 2 * page)


def make_mindrecord(
    folder: Path,
    output: Path,
    num_shards: int | None = None,
    classes: ClassList | None = None,
    val_split: ValSplit | None = None,
) -> None:
    """Makes or completes the MindRecord files of `folder` in `output` and says on standard output what it does.

    Args:
        folder: holds train/ and val/, each with one sub-folder per class; with `val_split` the class folders.
        output: a new or empty folder, or one that a run on the same images has begun.
        num_shards: files a split, but no more than it has images; when None, those already begun, or one for every
            4 GB.
        classes: those that count; all when None.
        val_split: how the images of each class are divided.

    Raises:
        UserError: wrong arguments, images that cannot be used, another data set in `output`, a full disk. Nothing
            unfinished is then entered in mindrecord.json.
    """
    if num_shards is not None and not 1 <= num_shards <= MAX_SHARDS:
        raise UserError(f"--shards must be from 1 to {MAX_SHARDS}, got {num_shards}")
    for classes_of in [folder / split for split in SPLITS] if val_split is None else [folder]:
        if output.resolve().is_relative_to(classes_of.resolve()):
            raise UserError(f"--output {output} is inside {classes_of}, where folders are classes; give another")
    begun = Manifest.read(output)
    if begun is None and output.exists() and (not output.is_dir() or set(os.listdir(output)) - {UNFINISHED}):
        raise UserError(f"--output {output} is not empty and holds no {MANIFEST}; give a new folder")
    if begun is not None and all(shard.bytes is None for split in SPLITS for shard in begun.splits[split]):
        begun = None  # nothing to continue
    splits = {}
    for split in SPLITS:
        begun_shards = begun and len(begun.splits[split])
        splits[split] = Split(folder, split, num_shards or begun_shards, classes, val_split)
        images = splits[split].images
        print_line(
            f"{split}: {counted(len(images), 'image')} in {counted(len(set(splits[split].labels)), 'class', 'classes')}"
        )
        ignored = images.describe_ignored()
        if ignored and not (val_split is not None and split == "val"):  # a divided folder has said it
            print_line(ignored)
    images = splits["train"].images
    manifest = Manifest(images.classes, {split: splits[split].shards for split in SPLITS}, images.division)
    if begun is not None:
        _take_over(begun, manifest, output)
    _check_space(splits, output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(output / UNFINISHED, ignore_errors=True)
        (output / UNFINISHED).mkdir()
        _write_manifest(output, manifest)
        _make_missing(splits, manifest, output)
    except OSError as error:
        raise UserError(f"cannot write in {output}: {error.strerror or error}; {AGAIN}") from error
    finally:
        shutil.rmtree(output / UNFINISHED, ignore_errors=True)
    for split in SPLITS:
        _check_counts(splits[split], MindRecord(output, split), output)


def _take_over(begun: Manifest, manifest: Manifest, output: Path) -> None:
    """Marks the files as finished that an earlier run has finished and that are still whole."""
    for split in SPLITS:
        planned, there = manifest.splits[split], begun.splits[split]
        same = (begun.classes, begun.division) == (manifest.classes, manifest.division) and [
            (s.file, s.source) for s in planned
        ] == [(s.file, s.source) for s in there]
        if not same:
            raise UserError(
                f"--output {output} holds MindRecord files of other or changed images, or another number of files "
                f"({split}: {len(there)} files); give another folder, or delete that one to make it anew"
            )
        for shard, old in zip(planned, there, strict=True):
            if old.bytes is None:
                continue
            try:
                old.check_files(output)
            except UserError as error:
                print_line(f"{str(error).partition(';')[0]}; it is made again")
            else:
                shard.bytes, shard.index_bytes = old.bytes, old.index_bytes


def _check_space(splits: dict[str, Split], output: Path) -> None:
    """Raises UserError before the work if what is missing does not fit on the disk."""
    needed = float(SPARE_BYTES)
    for split in splits.values():
        missing = sum(shard.images for shard in split.shards if shard.bytes is None)
        needed += split.num_bytes() * missing / len(split.names)
    folder = output.absolute()
    while not folder.is_dir():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"--output {output} needs {needed / 1e6:,.0f} MB, but its disk has {free / 1e6:,.0f} MB left; "
            "free some or give a folder on another disk"
        )


def _make_missing(splits: dict[str, Split], manifest: Manifest, output: Path) -> None:
    shards = [(split, k) for split in SPLITS for k in range(len(splits[split].shards))]
    total = sum(splits[split].shards[k].images for split, k in shards)
    done = total - sum(splits[split].shards[k].images for split, k in shards if splits[split].shards[k].bytes is None)
    if done:
        print_line(f"already finished: {done:,} of {counted(total, 'image')}")
    with Progress("MindRecord", total, done) as bar:
        report = _Report(bar, total, done)
        for split, k in shards:
            shard = splits[split].shards[k]
            if shard.bytes is not None:
                continue
            path = output / UNFINISHED / shard.file
            digests = _write(splits[split], k, path, report)
            _verify(splits[split], k, path, digests)
            sizes = []
            for file in (path, index_path(path)):
                shutil.copymode(output / MANIFEST, file)  # MindSpore lets nobody else read them
                sizes.append(_flush(file))
            os.replace(index_path(path), index_path(output / shard.file))
            os.replace(path, output / shard.file)
            shard.bytes, shard.index_bytes = sizes
            _write_manifest(output, manifest)
            print_line(f"{shard.file}: {counted(shard.images, 'image')}, {shard.bytes / 1e6:.1f} MB, verified")


class _Report:
    """The bar on a terminal; elsewhere a line every half minute with speed and time left."""

    def __init__(self, bar: Progress, total: int, done: int) -> None:
        self._bar, self._total, self._done_before, self._done = bar, total, done, done
        self._start = self._last = time.monotonic()

    def advance(self, images: int) -> None:
        self._bar.advance(images)
        self._done += images
        now = time.monotonic()
        if not self._bar.on_terminal and now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            speed = (self._done - self._done_before) / (now - self._start)
            left = (self._total - self._done) / speed / 60
            print_line(f"{self._done:,} of {self._total:,} images, {speed:.0f} images/s, {left:.0f} min left")


def _write(split: Split, k: int, path: Path, report: _Report) -> list[bytes]:
    """Writes a file and its index; returns the SHA-256 of each image file as it was read."""
    from mindspore.mindrecord import FileWriter  # slow to import; whoever only reads shards does without

    digests = []

    def rows() -> Iterator[dict]:
        for i in range(split.bounds[k], split.bounds[k + 1]):
            image = split.images.path(i)
            try:
                data = image.read_bytes()
            except OSError as error:
                raise UserError(f"cannot read image {image}: {error.strerror}; {AGAIN}") from error
            if len(data) != split.sizes[i]:
                raise UserError(f"image {image} has changed while it was being packed; run the command again")
            digests.append(hashlib.sha256(data).digest())
            yield {"data": data, "label": split.labels[i], "file_name": split.names[i]}

    header, page = split.layout()
    try:
        writer = FileWriter(str(path), shard_num=1)
        writer.set_header_size(header)
        writer.set_page_size(page)
        writer.add_schema(SCHEMA, "images of a folder")
        batch, num_bytes = [], 0
        for row in rows():
            batch.append(row)
            num_bytes += len(row["data"])
            if num_bytes >= page or len(batch) == 512:
                writer.write_raw_data(batch)
                report.advance(len(batch))
                batch, num_bytes = [], 0
        if batch:
            writer.write_raw_data(batch)
            report.advance(len(batch))
        writer.commit()
    except RuntimeError as error:  # MindSpore's, which says no more than this when the disk is full
        free = shutil.disk_usage(path.parent).free / 1e6
        raise UserError(f"cannot write {path}: {_reason(error)} ({free:,.0f} MB left on the disk); {AGAIN}") from error
    return digests


def _verify(split: Split, k: int, path: Path, digests: list[bytes]) -> None:
    """Reads a file back and compares it, image by image, with what was to be written.

    Raises:
        UserError: it differs.
    """
    first, end = split.bounds[k], split.bounds[k + 1]
    index = read_index(path)
    if index.labels.tolist() != split.labels[first:end] or read_file_names(path) != split.names[first:end]:
        raise UserError(f"{path} does not hold the names and labels that were written to it; check the disk")
    with open(path, "rb") as file:
        for i in range(first, end):
            data = read_data(file, path, int(index.starts[i - first]), int(index.sizes[i - first]))
            if hashlib.sha256(data).digest() != digests[i - first]:
                raise UserError(f"{path} does not hold {split.images.path(i)} as it was read; check the disk")


def _check_counts(split: Split, packed: MindRecord, output: Path) -> None:
    """Compares a finished split with the folder: its images of each class.

    Raises:
        UserError: they differ.
    """
    classes = split.images.classes
    expected = np.bincount(split.labels, minlength=len(classes))
    counts = np.bincount([packed.label(i) for i in range(len(packed))], minlength=len(classes))
    if packed.classes != classes or not np.array_equal(counts, expected):
        raise UserError(f"{output} does not hold as many images of each class as the folder; delete it and start anew")


def _write_manifest(output: Path, manifest: Manifest) -> None:
    write_json(output / MANIFEST, {"format": FORMAT, **asdict(manifest)})


def _flush(path: Path) -> int:
    """Makes sure that a file is on the disk; returns its size in bytes."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def _reason(error: RuntimeError) -> str:
    """The line of MindSpore's many that tells what happened."""
    lines = [line for line in str(error).splitlines() if line.startswith("[ERROR]")] or str(error).splitlines()
    return lines[0].removeprefix("[ERROR]").strip().rstrip(".") if lines else type(error).__name__


def _power_of_two(number: int) -> int:
    """The smallest one that is not below."""
    return 1 << max(number - 1, 0).bit_length()
