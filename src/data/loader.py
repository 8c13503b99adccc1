"""Batches for training and evaluation: NumPy arrays of one fixed shape, the same with any number of workers."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
from PIL import Image

from src.data.parallel_map import ParallelMap
from src.data.random_streams import augmentation_stream, order_stream
from src.data.transforms import EvalTransform, TrainTransform
from src.errors import UserError

BATCHES_AHEAD = 2


class Dataset(Protocol):
    """What a loader reads from; called from several threads at once."""

    classes: list[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Image.Image, int]: ...


class TrainLoader:
    """Shuffled, augmented batches; images that do not fill the last batch of an epoch are left out of it.

    The order is a function of (seed, epoch), what happens to an image of (seed, epoch, its index in the data set).
    `len(loader)` is the number of batches an epoch.

    Args:
        dataset: where the images come from.
        image_size, mean, std, in_channels, crop_scale, crop_ratio, flip_prob: see `TrainTransform`.
        batch_size: B.
        seed: not negative.
        workers: threads that read and transform; no more than the machine has cores are started.

    Raises:
        UserError: a data set smaller than a batch, or an argument outside its range.
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
        workers: int,
    ) -> None:
        self._transform = TrainTransform(
            image_size=image_size,
            mean=mean,
            std=std,
            in_channels=in_channels,
            crop_scale=crop_scale,
            crop_ratio=crop_ratio,
            flip_prob=flip_prob,
        )
        self._shape = (_check_batch_size(batch_size), in_channels, *self._transform.size)
        self._workers = num_threads(workers)
        if seed < 0:
            raise UserError(f"seed must not be negative, got {seed}")
        if len(dataset) < batch_size:
            raise UserError(
                f"the training set has {len(dataset)} images, fewer than one batch of {batch_size}; "
                f"set batch_size to at most {len(dataset)}"
            )
        self._dataset = dataset
        self._seed = seed

    def __len__(self) -> int:
        return len(self._dataset) // self._shape[0]

    def epoch(self, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields images (B, C, H, W) float32 and labels (B,) int32, `len(self)` times; any epoch, at any time.

        Raises:
            UserError: at the batch that holds it, an image that cannot be read.
        """
        order = order_stream(self._seed, epoch).permutation(len(self._dataset))
        batches = order[: len(self) * self._shape[0]].reshape(len(self), -1)

        def load(index: int) -> tuple[np.ndarray, int]:
            image, label = self._dataset[index]
            return self._transform(image, augmentation_stream(self._seed, epoch, index)), label

        for images, labels, _ in _load_batches(load, batches, self._shape, self._workers):
            yield images, labels


class EvalLoader:
    """Every image exactly once, in the data set's order, in batches of one shape.

    The last batch is filled up by repeating its last image. `len(loader)` is the number of batches. Iterating yields
    images (B, C, H, W) float32, labels (B,) int32, and the number of images that count.

    Args:
        dataset: where the images come from.
        image_size, mean, std, in_channels, crop_pct: see `EvalTransform`.
        batch_size: B.
        workers: threads that read and transform; no more than the machine has cores are started.

    Raises:
        UserError: an argument outside its range; while iterating, an image that cannot be read.
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
    ) -> None:
        self._transform = EvalTransform(
            image_size=image_size, mean=mean, std=std, in_channels=in_channels, crop_pct=crop_pct
        )
        self._shape = (_check_batch_size(batch_size), in_channels, *self._transform.size)
        self._workers = num_threads(workers)
        self._dataset = dataset

    def __len__(self) -> int:
        return -(-len(self._dataset) // self._shape[0])

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        def load(index: int) -> tuple[np.ndarray, int]:
            image, label = self._dataset[index]
            return self._transform(image), label

        indices = np.arange(len(self._dataset))
        batches = np.split(indices, range(self._shape[0], len(indices), self._shape[0]))
        for images, labels, num_valid in _load_batches(load, batches, self._shape, self._workers):
            images[num_valid:] = images[num_valid - 1]
            labels[num_valid:] = labels[num_valid - 1]
            yield images, labels, num_valid


def num_threads(workers: int) -> int:
    """`workers`, but no more than the cores this process may use.

    Raises:
        UserError: fewer than one.
    """
    if workers < 1:
        raise UserError(f"workers must be at least 1, got {workers}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(workers, cores)


def _check_batch_size(batch_size: int) -> int:
    if batch_size < 1:
        raise UserError(f"batch_size must be at least 1, got {batch_size}")
    return batch_size


def _load_batches(
    load: Callable[[int], tuple[np.ndarray, int]],
    batches: Iterable[np.ndarray],
    shape: tuple[int, int, int, int],
    workers: int,
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Loads the images of each batch of indices into one array, `BATCHES_AHEAD` batches before it is asked for."""

    def jobs() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
        for indices in batches:
            images, labels = np.empty(shape, np.float32), np.empty(shape[0], np.int32)
            for position in range(len(indices)):
                yield images, labels, indices, position

    def fill(job: tuple[np.ndarray, np.ndarray, np.ndarray, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        images, labels, indices, position = job
        images[position], labels[position] = load(int(indices[position]))
        return job

    for images, labels, indices, position in ParallelMap(fill, jobs(), workers, BATCHES_AHEAD * shape[0]):
        if position == len(indices) - 1:
            yield images, labels, len(indices)
