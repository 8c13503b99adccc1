"""Batches for the training and evaluation of detectors, made as those of `src.data.loader` are.

All images of a batch have one canvas: landscape, or for images that are higher than wide portrait, the same with its
sides exchanged. So there are batches of two shapes, and of one where the canvas is a square. The memory of a batch is
flat and is seen in the shape of its canvas.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from PIL import Image

from ..errors import UserError
from ..rule import OnBadImage
from .box_transforms import CHANNELS, DetectionTransform
from .coco import Objects
from .epoch_order import positions
from .eval_batch import EvalBatch
from .loader import Loader, check_positive, check_rank, fill_up, is_skipping
from .random_streams import augmentation_stream, order_stream
from .reduced_decoding import Size
from .shared_batches import Arrays, BatchPlan, Fields


class DetectionDataset(Protocol):
    """What these loaders read from, such as `Coco`; sent to worker processes by pickle."""

    classes: list[str]

    def __len__(self) -> int: ...

    def image(self, index: int) -> Image.Image:
        """In RGB. Raises UserError, which names the image, where it cannot be read."""
        ...

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of the image, without reading it."""
        ...

    def objects(self, index: int) -> Objects: ...

    def masks(self, index: int) -> np.ndarray:
        """(n, height, width) uint8 of the objects that are no crowd; asked for where the losses need them alone."""
        ...

    def describe(self, index: int) -> str:
        """The image's name in messages."""
        ...

    def fingerprint(self) -> str:
        """See `src.data.fingerprint`."""
        ...


class Encode(Protocol):
    """Makes what the losses need of an image's objects, in the workers; sent to them by pickle.

    Attributes:
        needs_masks: whether it is given masks.
    """

    needs_masks: bool

    def fields(self, canvas: Size) -> Fields:
        """Names, shapes and types of the arrays of one image. Names and types are those of every canvas."""
        ...

    def __call__(
        self,
        boxes: np.ndarray,
        labels: np.ndarray,
        img_shape: Size,
        canvas: Size,
        masks: np.ndarray | None,
        rng: np.random.Generator,
    ) -> Arrays:
        """The arrays of one image.

        Args:
            boxes: (n, 4) float32 in pixels of the canvas, without crowds.
            labels: (n,) int32.
            img_shape: (height, width) of the image on the canvas.
            canvas: (height, width).
            masks: (n, *img_shape) uint8, 1 where the object is; None unless `needs_masks`.
            rng: the image's own in this epoch, from which its transform has drawn before.
        """
        ...


class DetectionTrainLoader(Loader):
    """Shuffled batches of one canvas each, with what `encode` makes of their boxes.

    An epoch shuffles all images, parts them into landscape (and square) and portrait, cuts each of the two into global
    batches, leaves out what does not fill one, and shuffles the order of the batches. So the number of steps is the
    same in every epoch, and everything is a function of the seed, the epoch and the image's index, for any number of
    ranks, parts and workers, and after a restart. How a global batch is parted is told at `TrainLoader`.

    Attributes:
        bad_images: index in the data set -> why it cannot be read, of the images that were skipped so far.
        seconds_waited: for batches that were not ready, in all.
        num_left_out: images that an epoch leaves out, others in each; all of an orientation where it does not fill one
            global batch.

    Args:
        dataset: where the images come from.
        canvas, short_sides, flip_prob, mean, std, long_side: see `DetectionTransform`.
        batch_size: images of a part.
        seed: not negative.
        encode: makes arrays of the boxes; None for batches of images alone.
        workers: processes that read and transform, 0 for none; no more than the machine has cores are started.
        on_bad_image: 'error', or 'skip' to take the next readable image of the same orientation in its place.
        rank, num_ranks: this device, and how many there are.
        accumulate: parts of a step on each device.

    Raises:
        UserError: no orientation with the images of a global batch, or an argument outside its range.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        *,
        canvas: Size,
        short_sides: Sequence[int],
        flip_prob: float,
        mean: Sequence[float],
        std: Sequence[float],
        batch_size: int,
        seed: int,
        workers: int,
        long_side: int | None = None,
        encode: Encode | None = None,
        on_bad_image: OnBadImage = "error",
        rank: int = 0,
        num_ranks: int = 1,
        accumulate: int = 1,
    ) -> None:
        transform = DetectionTransform(
            canvas=canvas, short_sides=short_sides, flip_prob=flip_prob, mean=mean, std=std, long_side=long_side
        )
        for name, value in (("batch_size", batch_size), ("accumulate", accumulate)):
            check_positive(name, value)
        check_rank(rank, num_ranks)
        if seed < 0:
            raise UserError(f"seed must not be negative, got {seed}")
        num_parts = num_ranks * accumulate
        self._parts = [
            positions(micro_batch + accumulate * rank, num_parts, batch_size, paired=False)
            for micro_batch in range(accumulate)
        ]
        self._global_batch, self._seed = num_parts * batch_size, seed
        self._shape_of = _shape_of_images(dataset, transform)
        counts = np.bincount(self._shape_of, minlength=len(transform.canvases))
        self._num_steps = int((counts // self._global_batch).sum())
        self.num_left_out = len(dataset) - self._num_steps * self._global_batch
        if self._num_steps == 0:
            kinds = ("landscape ", "portrait ") if len(counts) > 1 else ("",)
            there_are = " and ".join(f"{n} {kind}training images" for n, kind in zip(counts, kinds, strict=True))
            parts = f" = {batch_size} * {num_ranks} devices * {accumulate} accumulated" if num_parts > 1 else ""
            raise UserError(
                f"there are {there_are}, too few for one batch of {self._global_batch}{parts} whose images have one "
                "canvas; lower batch_size or add images"
            )
        work = _TrainWork(dataset, transform, batch_size, encode, self._shape_of, seed, is_skipping(on_bad_image))
        super().__init__(work, dataset, workers, batch_size)

    def __len__(self) -> int:
        """Optimizer steps of an epoch."""
        return self._num_steps

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[tuple[np.ndarray, ...]]:
        """Yields `accumulate` micro-batches for each step of any epoch, from a step of it (counted from 0) on.

        Images (B, 3, H, W) float32, then the arrays of `encode` in the order of its fields, (B, ...) each. They are
        valid until the next micro-batch is asked for. One epoch at a time: beginning another ends this one.

        Raises:
            UserError: at the batch that holds it, an image that cannot be read; a worker that died.
        """
        for batch in self._batches(self._plans(epoch, first_step), self._keep_workers()):
            yield self._work.images(batch), *self._work.encoded(batch).values()

    def _plans(self, epoch: int, first_step: int) -> Iterator[BatchPlan]:
        random = order_stream(self._seed, epoch)
        order = random.permutation(len(self._shape_of))
        batches: list[np.ndarray] = []
        for shape in range(int(self._shape_of.max()) + 1):
            own = order[self._shape_of[order] == shape]
            num_batches = len(own) // self._global_batch
            batches += list(own[: num_batches * self._global_batch].reshape(num_batches, self._global_batch))
        for batch in random.permutation(len(batches))[first_step:].tolist():
            indices = batches[batch]
            for part in self._parts:
                yield self._work.plan_of_epoch(indices[part], int(self._shape_of[indices[0]]), epoch)


class DetectionEvalLoader(Loader):
    """Every image exactly once over all ranks: first those of the landscape canvas, then those of the portrait one.

    Of each canvas rank r has the images r, r + `num_ranks` ... in their order. Every rank has the same number of
    batches, `len(loader)`, of the same canvases in the same order; what is missing at the end of a canvas, or because
    images were skipped, is filled up by repeating the last one.

    Inputs are images (B, 3, H, W) float32; shapes (B, 2) float32, height and width of the image on the canvas; scales
    (B, 2) float32, the factors of the width and of the height by which it was resized. Truth is the images' indices
    (B,) int64 in the data set. A batch without any image has zeros, shapes of the canvas and scales of 1. The inputs
    are valid until the next batch is asked for.

    Attributes:
        bad_images: index in the data set -> why it cannot be read, of the images that were skipped so far.
        seconds_waited: for batches that were not ready, in all.

    Args:
        dataset: where the images come from.
        canvas, short_sides, mean, std, long_side: see `DetectionTransform`; the largest short side counts.
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
        dataset: DetectionDataset,
        *,
        canvas: Size,
        short_sides: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        batch_size: int,
        workers: int,
        long_side: int | None = None,
        on_bad_image: OnBadImage = "error",
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        transform = DetectionTransform(
            canvas=canvas, short_sides=short_sides, flip_prob=0.0, mean=mean, std=std, long_side=long_side
        )
        check_positive("batch_size", batch_size)
        check_rank(rank, num_ranks)
        shape_of = _shape_of_images(dataset, transform)
        self._batches_of_shapes: list[tuple[int, np.ndarray]] = []
        for shape in range(len(transform.canvases)):
            images = np.flatnonzero(shape_of == shape)
            own = images[rank::num_ranks]
            for begin in range(0, -(-len(images) // num_ranks), batch_size):
                self._batches_of_shapes.append((shape, own[begin : begin + batch_size]))
        work = _EvalWork(dataset, transform, batch_size, is_skipping(on_bad_image))
        super().__init__(work, dataset, workers, batch_size)

    def __len__(self) -> int:
        return len(self._batches_of_shapes)

    def __iter__(self) -> Iterator[EvalBatch]:
        processes = self._start_workers()
        plans = (self._work.plan(indices, shape) for shape, indices in self._batches_of_shapes)
        try:
            for batch in self._batches(plans, processes):
                yield self._filled_up(batch)
        finally:
            if processes is not None:
                processes.close()

    def _filled_up(self, batch: Arrays) -> EvalBatch:
        images = self._work.images(batch)
        shapes, scales, indices = batch["shapes"], batch["scales"], batch["indices"]
        num_valid = fill_up((images, shapes, scales, indices), batch["is_read"])
        if num_valid == 0:
            shapes[:], scales[:] = images.shape[2:], 1
        return EvalBatch((images, shapes, scales), (indices.copy(),), num_valid)


def _shape_of_images(dataset: DetectionDataset, transform: DetectionTransform) -> np.ndarray:
    """(n,) int64: which of the transform's canvases each image gets."""
    canvases = transform.canvases
    return np.array([canvases.index(transform.canvas_of(dataset.size(i))) for i in range(len(dataset))], np.int64)


class _Work:
    """What both works have. A task is a range of positions.

    Args:
        dataset, transform: where images come from, and where they go.
        batch_size: images.
        more: arrays of the batch beside the images, their indices and the number of their canvas.
    """

    def __init__(self, dataset: DetectionDataset, transform: DetectionTransform, batch_size: int, more: Fields) -> None:
        self._dataset, self._transform, self._batch_size = dataset, transform, batch_size
        self.fields: Fields = {
            "images": ((batch_size * _number((CHANNELS, *transform.canvas)),), np.float32),
            "indices": ((batch_size,), np.int64),
            "shape": ((1,), np.int64),
            **more,
        }

    def plan(self, indices: np.ndarray, shape: int) -> BatchPlan:
        """Of a batch of these images, not more than fit, on the canvas number `shape`."""
        given = {"shape": np.array([shape]), "indices": np.zeros(self._batch_size, np.int64)}
        given["indices"][: len(indices)] = indices
        return BatchPlan(given, [(position, position + 1) for position in range(len(indices))])

    def images(self, batch: Arrays) -> np.ndarray:
        """The images in the shape of the batch's canvas, (B, 3, H, W)."""
        canvas = self._transform.canvases[int(batch["shape"][0])]
        return batch["images"].reshape(self._batch_size, CHANNELS, *canvas)


class _TrainWork(_Work):
    def __init__(
        self,
        dataset: DetectionDataset,
        transform: DetectionTransform,
        batch_size: int,
        encode: Encode | None,
        shape_of: np.ndarray,
        seed: int,
        skip: bool,
    ) -> None:
        encoded = [{} if encode is None else encode.fields(canvas) for canvas in transform.canvases]
        types = [[(name, np.dtype(dtype)) for name, (_, dtype) in fields.items()] for fields in encoded]
        if any(other != types[0] for other in types):
            raise ValueError(f"encode has other names or types on another canvas: {types}")
        more: Fields = {"epoch": ((1,), np.int64)}
        for name, dtype in types[0]:
            largest = max(_number(fields[name][0]) for fields in encoded)
            more[_memory(name)] = ((batch_size * largest,), dtype)
        super().__init__(dataset, transform, batch_size, more)
        self._encode, self._seed, self._skip = encode, seed, skip
        self._encoded_shapes = [{name: tuple(shape) for name, (shape, _) in fields.items()} for fields in encoded]
        self._images_of_shapes = [np.flatnonzero(shape_of == shape) for shape in range(len(transform.canvases))]

    def plan_of_epoch(self, indices: np.ndarray, shape: int, epoch: int) -> BatchPlan:
        plan = self.plan(indices, shape)
        plan.given["epoch"] = np.array([epoch])
        return plan

    def encoded(self, batch: Arrays) -> Arrays:
        """What `encode` makes, in the shapes of the batch's canvas, (B, ...) each."""
        shapes = self._encoded_shapes[int(batch["shape"][0])]
        size = self._batch_size
        return {
            name: batch[_memory(name)][: size * _number(shape)].reshape(size, *shape) for name, shape in shapes.items()
        }

    def __call__(self, batch: Arrays, first: int, end: int) -> dict[int, str] | None:
        bad: dict[int, str] = {}
        images, encoded = self.images(batch), self.encoded(batch)
        epoch, shape = int(batch["epoch"][0]), int(batch["shape"][0])
        for position in range(first, end):
            index = int(batch["indices"][position])
            found, image, objects = self._read(index, shape, bad)
            counts = ~objects.is_crowd
            needs_masks = self._encode is not None and self._encode.needs_masks
            masks = self._dataset.masks(found) if needs_masks else None
            stream = augmentation_stream(self._seed, epoch, index, 0)
            placed = self._transform(image, objects.boxes[counts], stream, images[position], masks)
            if self._encode is not None:
                canvas = self._transform.canvases[shape]
                labels = objects.labels[counts]
                values = self._encode(placed.boxes, labels, placed.size, canvas, placed.masks, stream)
                for name, array in encoded.items():
                    if np.shape(values[name]) != array.shape[1:]:
                        raise ValueError(f"encode: {name!r} must be {array.shape[1:]}, got {np.shape(values[name])}")
                    array[position] = values[name]
        return bad or None

    def _read(self, index: int, shape: int, bad: dict[int, str]) -> tuple[int, Image.Image, Objects]:
        """The image, or the next one of its canvas that can be read, and its index; notes the others in `bad`."""
        images = self._images_of_shapes[shape]
        place = int(np.searchsorted(images, index))
        for offset in range(len(images)):
            candidate = int(images[(place + offset) % len(images)])
            try:
                return candidate, self._dataset.image(candidate), self._dataset.objects(candidate)
            except UserError as error:
                if not self._skip:
                    raise
                bad[candidate] = str(error)
        raise UserError(f"none of {len(images)} training images of one shape can be read; the first: {bad[index]}")


class _EvalWork(_Work):
    def __init__(self, dataset: DetectionDataset, transform: DetectionTransform, batch_size: int, skip: bool) -> None:
        more = {
            "shapes": ((batch_size, 2), np.float32),
            "scales": ((batch_size, 2), np.float32),
            "is_read": ((batch_size,), np.bool_),
        }
        super().__init__(dataset, transform, batch_size, more)
        self._skip = skip

    def plan(self, indices: np.ndarray, shape: int) -> BatchPlan:
        plan = super().plan(indices, shape)
        plan.given["is_read"] = np.zeros(self._batch_size, np.bool_)
        return plan

    def __call__(self, batch: Arrays, first: int, end: int) -> dict[int, str] | None:
        bad: dict[int, str] = {}
        images = self.images(batch)
        for position in range(first, end):
            index = int(batch["indices"][position])
            try:
                image = self._dataset.image(index)
            except UserError as error:
                if not self._skip:
                    raise
                bad[index] = str(error)
                continue
            placed = self._transform(image, np.zeros((0, 4), np.float32), out=images[position])
            batch["shapes"][position], batch["scales"][position] = placed.size, placed.scale
            batch["is_read"][position] = True
        return bad or None


def _memory(name: str) -> str:
    """The field that holds an array of `encode`, whose names do not meet those of the batch."""
    return f"encoded {name}"


def _number(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
