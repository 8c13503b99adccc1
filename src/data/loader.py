"""Batches for training and evaluation: NumPy arrays of one fixed shape, the same with any number of workers.

With `workers` = 0 a thread of this process makes them, which is best for small images: a process needs about a third
of a second to start. Otherwise processes do (`SharedBatches`), and the arrays are memory that is used again.
"""

import os
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from PIL import Image

from ..errors import UserError
from ..rule import ClassBalance, OnBadImage
from .epoch_order import balanced_shares, epoch_length, epoch_order, positions
from .eval_batch import EvalBatch
from .mixup import Mix, Mixing, mix_images
from .parallel_map import ParallelMap
from .random_erasing import RandomErasing
from .random_streams import augmentation_stream, erasing_stream, mixing_stream
from .reduced_decoding import Least, Size, read_reduced
from .resampling import library
from .shared_batches import Arrays, BatchPlan, Fields, SharedBatches, Work
from .transforms import EvalTransform, TrainTransform

BATCHES_AHEAD = 2


class Dataset(Protocol):
    """What a loader reads from; sent to worker processes by pickle."""

    classes: list[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Raises UserError, which names the image, where it cannot be read."""
        ...

    def label(self, index: int) -> int: ...

    def describe(self, index: int) -> str:
        """The image's name in messages."""
        ...

    def fingerprint(self) -> str:
        """See `src.data.fingerprint`."""
        ...


class Loader:
    """What all loaders have: batches that are made ahead, and the attributes that tell how it went."""

    def __init__(self, work: Work, dataset: Dataset, workers: int, tasks_per_batch: int) -> None:
        self._work, self._workers = work, num_workers(workers)
        if self._workers and type(dataset).__module__ == "__main__":
            raise UserError(
                "the data set is defined in the script that is running, which worker processes do not import; "
                "move it to a module of its own, or set workers to 0"
            )
        self._ahead = max(BATCHES_AHEAD, -(-2 * self._workers // tasks_per_batch))  # every worker has something to do
        self.bad_images: dict[int, str] = {}
        self.seconds_waited = 0.0
        self._kept: SharedBatches | None = None

    def close(self) -> None:
        """Stops the worker processes that stay for the next epoch, as the end of the program and of this object do; an
        epoch that is begun later starts new ones."""
        if self._kept is not None:
            self._kept.close()

    def _keep_workers(self) -> SharedBatches | None:
        """The worker processes that stay for the next epoch, started where they are not running."""
        if self._kept is None or not self._kept.close.alive:
            self._kept = self._start_workers()
        return self._kept

    def _start_workers(self) -> SharedBatches | None:
        if not self._workers:
            return None
        library()  # compiled here, not in each of them
        return SharedBatches(self._work, self._workers, self._ahead)

    def _batches(self, plans: Iterator[BatchPlan], processes: SharedBatches | None) -> Iterator[Arrays]:
        """The batches of `plans`, made by `processes` or else by a thread."""
        if processes is not None:
            batches = processes.batches(plans)
        else:
            batches = ParallelMap(self._fill, plans, workers=1, ahead=self._ahead)
        while True:
            begin = time.perf_counter()
            batch, reports = next(batches, (None, ()))
            self.seconds_waited += time.perf_counter() - begin
            if batch is None:
                return
            for bad_images in reports:
                self.bad_images.update(bad_images)
            yield batch

    def _fill(self, plan: BatchPlan) -> tuple[Arrays, list[dict[int, str]]]:
        batch = {name: np.zeros(shape, dtype) for name, (shape, dtype) in self._work.fields.items()} | plan.given
        reports = [self._work(batch, *task) for task in plan.tasks]
        return batch, [report for report in reports if report is not None]


class TrainLoader(Loader):
    """Shuffled, augmented and mixed batches; images that do not fill the last step of an epoch are left out of it.

    A step's global batch is cut into `num_ranks` * `accumulate` parts, and this loader yields those of one rank. All
    randomness is a function of the seed, the epoch, the image's index and repetition (augmentation, erasing) or the
    step (mixing), so the global batches are the same for any number of ranks, parts and workers, and after a restart.
    Micro-batch m of rank r is part m + r * `accumulate`, with the positions that `positions` says. So micro-batch m of
    all ranks together has the same images on any number of them, which is what a synchronised batch norm sees.

    Attributes:
        bad_images: index in the data set -> why it cannot be read, of the images that were skipped so far.
        seconds_waited: for batches that were not ready, in all.

    Args:
        dataset: where the images come from.
        image_size, mean, std, in_channels, crop_scale, crop_ratio, flip_prob, rand_augment, color_jitter: see
            `TrainTransform`.
        batch_size: images of a part.
        seed: not negative.
        erase_prob: see `RandomErasing`.
        three_augment, augmix: see `TrainTransform`.
        balance: 'none', or of which power of its classes' sizes the inverse is an image's share, see `balanced_shares`:
            'sqrt' 1/2, 'full' 1.
        mixup, cutmix, mix_prob, mix_switch_prob, label_smoothing: see `Mixing`. Position i of the global batch is mixed
            with position B - 1 - i.
        repeats: repeated augmentation, see `epoch_order`.
        workers: processes that read and transform, 0 for none; no more than the machine has cores are started.
        on_bad_image: 'error', or 'skip' to take the next readable image of the data set in its place.
        rank, num_ranks: this device, and how many there are.
        accumulate: parts of a step on each device.

    Raises:
        UserError: a data set smaller than a global batch, or an argument outside its range.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        image_size: int | tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        in_channels: int,
        batch_size: int,
        seed: int,
        crop_scale: tuple[float, float],
        crop_ratio: tuple[float, float],
        flip_prob: float,
        rand_augment: str | None,
        color_jitter: float,
        erase_prob: float,
        mixup: float,
        cutmix: float,
        mix_prob: float,
        mix_switch_prob: float,
        label_smoothing: float,
        repeats: int,
        workers: int,
        three_augment: bool = False,
        augmix: bool = False,
        balance: ClassBalance = "none",
        on_bad_image: OnBadImage = "error",
        rank: int = 0,
        num_ranks: int = 1,
        accumulate: int = 1,
    ) -> None:
        transform = TrainTransform(
            image_size=image_size,
            mean=mean,
            std=std,
            in_channels=in_channels,
            crop_scale=crop_scale,
            crop_ratio=crop_ratio,
            flip_prob=flip_prob,
            rand_augment=rand_augment,
            three_augment=three_augment,
            augmix=augmix,
            color_jitter=color_jitter,
        )
        self._mixing = Mixing(
            mixup_alpha=mixup,
            cutmix_alpha=cutmix,
            probability=mix_prob,
            switch_probability=mix_switch_prob,
            label_smoothing=label_smoothing,
            num_classes=len(dataset.classes),
        )
        for name, value in (("batch_size", batch_size), ("repeats", repeats), ("accumulate", accumulate)):
            check_positive(name, value)
        check_rank(rank, num_ranks)
        if seed < 0:
            raise UserError(f"seed must not be negative, got {seed}")
        num_parts = num_ranks * accumulate
        self._parts = [
            positions(micro_batch + accumulate * rank, num_parts, batch_size, self._mixing.enabled)
            for micro_batch in range(accumulate)
        ]
        self._global_batch = num_parts * batch_size
        self._num_images, self._seed, self._repeats = len(dataset), seed, repeats
        self._shares = None
        if balance != "none":
            labels = np.array([dataset.label(index) for index in range(len(dataset))])
            self._shares = balanced_shares(labels, {"sqrt": 0.5, "full": 1.0}[balance])
        if len(self) == 0:
            parts = f" = {batch_size} * {num_ranks} devices * {accumulate} accumulated" if num_parts > 1 else ""
            raise UserError(
                f"an epoch has {epoch_length(len(dataset), repeats)} training images, fewer than one batch of "
                f"{self._global_batch}{parts}; lower batch_size or add images"
            )
        fields = {
            "images": ((batch_size, in_channels, *transform.size), np.float32),
            "labels": ((batch_size,), np.int32),
            "indices": ((batch_size,), np.int64),
            "copies": ((batch_size,), np.int64),
            "moment": ((2,), np.int64),  # epoch, step of the run
        }
        erasing = RandomErasing(erase_prob)
        work = _TrainWork(fields, dataset, transform, self._mixing, erasing, seed, is_skipping(on_bad_image))
        super().__init__(work, dataset, workers, -(-batch_size // 2) if self._mixing.enabled else batch_size)

    def __len__(self) -> int:
        """Optimizer steps of an epoch."""
        return epoch_length(self._num_images, self._repeats) // self._global_batch

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields `accumulate` micro-batches for each step of any epoch, from a step of it (counted from 0) on.

        Images (batch_size, C, H, W) float32; labels (batch_size,) int32 without mixing, soft targets (batch_size, K)
        float32 with it. The images are valid until the next micro-batch is asked for. One epoch at a time: beginning
        another ends this one.

        Raises:
            UserError: at the batch that holds it, an image that cannot be read; a worker that died.
        """
        for batch in self._batches(self._plans(epoch, first_step), self._keep_workers()):
            targets = batch["labels"].copy()
            if self._mixing.enabled:
                targets = self._mixing.targets(targets, targets[::-1], self._work.mix(int(batch["moment"][1])))
            yield batch["images"], targets

    def _plans(self, epoch: int, first_step: int) -> Iterator[BatchPlan]:
        indices, copies = epoch_order(self._num_images, self._seed, epoch, self._repeats, self._shares)
        for step in range(first_step, len(self)):
            begin = step * self._global_batch
            for part in self._parts:
                given = {
                    "indices": indices[begin + part],
                    "copies": copies[begin + part],
                    "moment": np.array([epoch, epoch * len(self) + step]),
                }
                yield BatchPlan(given, self._tasks(given["indices"]))

    def _tasks(self, indices: np.ndarray) -> list[tuple[int, int]]:
        """Ranges of positions whose images are the same one, so that it is read once; with mixing of the first half."""
        end = -(-len(indices) // 2) if self._mixing.enabled else len(indices)
        bounds = [0, *(np.flatnonzero(np.diff(indices[:end])) + 1).tolist(), end]
        return list(zip(bounds[:-1], bounds[1:], strict=True))


class EvalLoader(Loader):
    """Every image exactly once over all ranks: rank r has the images r, r + `num_ranks` ... in their order.

    Every rank has the same number of batches, `len(loader)`, of one shape; what is missing at the end, or because
    images were skipped, is filled up by repeating the last one (zeros where there is none). Inputs are images
    (B, C, H, W) float32, truth labels (B,) int32 and the images' indices (B,) int64 in the data set. The images are
    valid until the next batch is asked for.

    Attributes:
        bad_images: index in the data set -> why it cannot be read, of the images that were skipped so far.
        seconds_waited: for batches that were not ready, in all.

    Args:
        dataset: where the images come from.
        image_size, mean, std, in_channels, crop_pct: see `EvalTransform`.
        batch_size: B.
        workers: processes that read and transform, 0 for none; no more than the machine has cores are started. They
            last as long as the iteration.
        on_bad_image: 'error', or 'skip' to leave it out.
        rank, num_ranks: this device, and how many there are.

    Raises:
        UserError: an argument outside its range; while iterating, an image that cannot be read, a worker that died.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        image_size: int | tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        in_channels: int,
        batch_size: int,
        crop_pct: float,
        workers: int,
        on_bad_image: OnBadImage = "error",
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        transform = EvalTransform(image_size=image_size, mean=mean, std=std, in_channels=in_channels, crop_pct=crop_pct)
        check_positive("batch_size", batch_size)
        check_rank(rank, num_ranks)
        fields = {
            "images": ((batch_size, in_channels, *transform.size), np.float32),
            "labels": ((batch_size,), np.int32),
            "indices": ((batch_size,), np.int64),
            "is_read": ((batch_size,), np.bool_),
        }
        super().__init__(_EvalWork(fields, dataset, transform, is_skipping(on_bad_image)), dataset, workers, batch_size)
        self._own = np.arange(rank, len(dataset), num_ranks)
        self._num_batches = -(-len(dataset) // (num_ranks * batch_size))
        self._batch_size = batch_size

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[EvalBatch]:
        processes = self._start_workers()
        try:
            for batch in self._batches(self._plans(), processes):
                images, labels, indices = arrays = [batch[name] for name in ("images", "labels", "indices")]
                num_valid = fill_up(arrays, batch["is_read"])
                yield EvalBatch((images,), (labels.copy(), indices.copy()), num_valid)
        finally:
            if processes is not None:
                processes.close()

    def _plans(self) -> Iterator[BatchPlan]:
        for batch in range(self._num_batches):
            indices = self._own[batch * self._batch_size : (batch + 1) * self._batch_size]
            given = {"indices": np.zeros(self._batch_size, np.int64), "is_read": np.zeros(self._batch_size, np.bool_)}
            given["indices"][: len(indices)] = indices
            yield BatchPlan(given, [(position, position + 1) for position in range(len(indices))])


class _TrainWork:
    """A task is a range of positions; with mixing each of them comes with its partner."""

    def __init__(
        self,
        fields: Fields,
        dataset: Dataset,
        transform: TrainTransform,
        mixing: Mixing,
        erasing: RandomErasing,
        seed: int,
        skip: bool,
    ) -> None:
        self.fields = fields
        self.dataset, self._transform, self._mixing, self._erasing = dataset, transform, mixing, erasing
        self._seed, self._skip = seed, skip

    def mix(self, step: int) -> Mix:
        """How the batches of a step are mixed."""
        return self._mixing.draw(mixing_stream(self._seed, step), self._transform.size)

    def __call__(self, batch: Arrays, first: int, end: int) -> dict[int, str] | None:
        epoch, step = batch["moment"].tolist()
        mix = self.mix(step) if self._mixing.enabled else None
        own = batch["indices"][first:end].tolist()
        if mix is not None:
            own += batch["indices"][::-1][first:end].tolist()
        images: dict[int, tuple[Image.Image, int, Size]] = {}
        bad: dict[int, str] = {}

        def augment(position: int) -> np.ndarray:
            index, copy = int(batch["indices"][position]), int(batch["copies"][position])

            def least(size: Size) -> Size:
                if own.count(index) > 1 or not self._transform.can_reduce(size):  # other crops of it are made too
                    return size
                return self._transform.least_size(size, augmentation_stream(self._seed, epoch, index, copy))

            if index not in images:
                images[index] = self._read(index, bad, least)
            image, batch["labels"][position], size = images[index]
            return self._transform(image, augmentation_stream(self._seed, epoch, index, copy), size)

        def finish(position: int, pixels: np.ndarray) -> None:
            index, copy = int(batch["indices"][position]), int(batch["copies"][position])
            values = self._transform.normalize(pixels, batch["images"][position])
            self._erasing(values, erasing_stream(self._seed, epoch, index, copy))

        for position in range(first, end):
            pixels = augment(position)
            partner = len(batch["indices"]) - 1 - position
            if mix is None:
                finish(position, pixels)
            else:
                partner_pixels = augment(partner) if partner != position else pixels
                finish(position, mix_images(pixels, partner_pixels, mix))
                finish(partner, mix_images(partner_pixels, pixels, mix))
        return bad or None

    def _read(self, index: int, bad: dict[int, str], least: Least) -> tuple[Image.Image, int, Size]:
        """The image, or the next one that can be read, its label, and its size before it was reduced; notes the others
        in `bad`."""
        sizes: list[Size] = []

        def noted(size: Size) -> Size:
            sizes.append(size)
            return least(size)

        for offset in range(len(self.dataset)):
            candidate = (index + offset) % len(self.dataset)
            try:
                image, label = read_reduced(self.dataset, candidate, noted)
                return image, label, sizes[-1] if sizes else (image.height, image.width)
            except UserError as error:
                if not self._skip:
                    raise
                bad[candidate] = str(error)
        raise UserError(f"none of the {len(self.dataset)} training images can be read; the first: {bad[index]}")


class _EvalWork:
    """A task is a range of positions."""

    def __init__(self, fields: Fields, dataset: Dataset, transform: EvalTransform, skip: bool) -> None:
        self.fields, self.dataset, self._transform, self._skip = fields, dataset, transform, skip

    def __call__(self, batch: Arrays, first: int, end: int) -> dict[int, str] | None:
        bad: dict[int, str] = {}
        for position in range(first, end):
            index = int(batch["indices"][position])
            try:
                image, label = self.dataset[index]
            except UserError as error:
                if not self._skip:
                    raise
                bad[index] = str(error)
                continue
            self._transform(image, batch["images"][position])
            batch["labels"][position] = label
            batch["is_read"][position] = True
        return bad or None


def fill_up(arrays: Sequence[np.ndarray], is_read: np.ndarray) -> int:
    """Moves the rows that were read to the front, repeats the last one behind them (0 where there is none), in place.

    Returns:
        How many were read.
    """
    num_valid = int(is_read.sum())
    for array in arrays:
        if not is_read[:num_valid].all():
            array[:num_valid] = array[is_read]
        array[num_valid:] = array[num_valid - 1] if num_valid else 0
    return num_valid


def num_workers(workers: int) -> int:
    """`workers`, but no more than the cores this process may use.

    Raises:
        UserError: a negative number.
    """
    if workers < 0:
        raise UserError(f"workers must be at least 0, got {workers}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(workers, cores)


def num_threads(workers: int) -> int:
    """`num_workers`, but at least one."""
    return max(1, num_workers(workers))


def check_positive(name: str, value: int) -> None:
    if value < 1:
        raise UserError(f"{name} must be at least 1, got {value}")


def check_rank(rank: int, num_ranks: int) -> None:
    if not 0 <= rank < num_ranks:
        raise UserError(f"rank must be at least 0 and below num_ranks, got rank {rank} of {num_ranks}")


def is_skipping(on_bad_image: str) -> bool:
    if on_bad_image not in ("error", "skip"):
        raise UserError(f"on_bad_image must be 'error' or 'skip', got {on_bad_image!r}")
    return on_bad_image == "skip"
