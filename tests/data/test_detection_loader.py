"""Batches of one canvas each: shapes, order, what decides them, coverage, ranks, workers, bad images, errors."""

import os
import threading

import numpy as np
import pytest
from PIL import Image

from src.data.box_transforms import DetectionTransform, pad_to
from src.data.coco import Objects
from src.data.detection_loader import DetectionEvalLoader, DetectionTrainLoader
from src.data.random_streams import augmentation_stream
from src.errors import UserError

TRANSFORM = {"canvas": (8, 12), "short_sides": (4, 6, 8), "mean": (0.5,) * 3, "std": (0.25,) * 3}


class Noise:
    """Every third image is portrait, every fifth a square; the only label that is no crowd's is the index."""

    classes = ["thing"]

    def __init__(self, length, bad=()):
        self.length, self.bad = length, bad

    def __len__(self):
        return self.length

    def size(self, index):
        return (20, 10) if index % 3 == 2 else (15, 15) if index % 5 == 0 else (10, 12 + index % 4)

    def image(self, index):
        assert type(index) is int and 0 <= index < self.length
        if index in self.bad:
            raise UserError(f"cannot read image {index}.jpg")
        pixels = np.random.default_rng(index).integers(0, 256, (*self.size(index), 3), dtype=np.uint8)
        return Image.fromarray(pixels)

    def objects(self, index):
        boxes = np.array([[0, 0, 4, 5], [1, 2, 7, 8]], np.float32)
        labels, is_crowd = np.array([-1, index], np.int32), np.array([True, False])
        return Objects(boxes, labels, is_crowd, np.ones(2, np.float32), [None, None])

    def masks(self, index):
        raise AssertionError("nobody needs them")


class NoiseWithMasks(Noise):
    def masks(self, index):
        """Of the object that is no crowd: its number is in the pixels of its box."""
        masks = np.zeros((1, *self.size(index)), np.uint8)
        masks[0, 2:8, 1:7] = index + 1
        return masks


class Tell:
    """Tells labels and boxes, and one value for each cell of the canvas, of which a portrait one has more here."""

    needs_masks = False

    def fields(self, canvas):
        cells = (canvas[0] // 2, 3)
        return {"cells": (cells, np.float32), "label": ((), np.int32), "images": ((4,), np.float64)}

    def __call__(self, boxes, labels, img_shape, canvas, masks, rng):
        assert boxes.dtype == np.float32 and len(boxes) == len(labels) == 1
        assert masks is None and isinstance(rng, np.random.Generator)
        assert canvas in ((8, 12), (12, 8)) and img_shape[0] <= canvas[0] and img_shape[1] <= canvas[1]
        cells = np.full((canvas[0] // 2, 3), img_shape[0] + img_shape[1] / 100, np.float32)
        return {"cells": cells, "label": labels[0], "images": boxes[0]}


class TellMasks:
    """Tells the label, the box, the masks in the corner of the canvas, and a number that it draws."""

    needs_masks = True

    def fields(self, canvas):
        return {
            "label": ((), np.int32),
            "box": ((4,), np.float32),
            "masks": ((1, *canvas), np.uint8),
            "drawn": ((), np.float64),
        }

    def __call__(self, boxes, labels, img_shape, canvas, masks, rng):
        assert masks.shape == (1, *img_shape) and masks.dtype == np.uint8
        return {"label": labels[0], "box": boxes[0], "masks": pad_to(masks, canvas), "drawn": rng.random()}


class Wrong(Tell):
    def __call__(self, boxes, labels, img_shape, canvas, masks, rng):
        return super().__call__(boxes, labels, img_shape, canvas, masks, rng) | {"cells": np.zeros(3)}


class OfAnotherType(Tell):
    def fields(self, canvas):
        return {"a": ((2,), np.float32 if canvas == (8, 12) else np.float64)}


def train_loader(length=40, bad=(), **changes):
    settings = {**TRANSFORM, "flip_prob": 0.5, "batch_size": 4, "seed": 1, "workers": 0, "encode": Tell(), **changes}
    return DetectionTrainLoader(Noise(length, bad), **settings)


def mask_loader(length=40, bad=(), **changes):
    settings = {**TRANSFORM, "flip_prob": 0.5, "batch_size": 4, "seed": 1, "workers": 0, **changes}
    return DetectionTrainLoader(NoiseWithMasks(length, bad), encode=TellMasks(), **settings)


def eval_loader(length=22, bad=(), **changes):
    return DetectionEvalLoader(Noise(length, bad), **{**TRANSFORM, "batch_size": 3, "workers": 0, **changes})


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    """So that three workers are three on any machine."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("data-")]


def copies(batches):
    return [tuple(array.copy() for array in batch) for batch in batches]


def labels_of(batches):
    return [labels.tolist() for _, _, labels, _ in batches]


def assert_equal(batches, others):
    for batch, other in zip(batches, others, strict=True):
        for one, another in zip(batch, other, strict=True):
            assert np.array_equal(one, another)


def judged(loader):
    return [(*copies([inputs])[0], truth[0], num_valid) for inputs, truth, num_valid in loader]


def test_train_batches():
    """40 images, 27 landscape and 13 portrait: 6 and 3 batches of 4."""
    loader = train_loader()
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader) == 9 and loader.num_left_out == 4
    shapes = []
    for images, cells, labels, boxes in batches:
        height, width = images.shape[2:]
        shapes.append((height, width))
        assert (images.shape, images.dtype, images.flags.c_contiguous) == ((4, 3, height, width), np.float32, True)
        assert (cells.shape, cells.dtype, cells.flags.c_contiguous) == ((4, height // 2, 3), np.float32, True)
        assert (labels.shape, labels.dtype, boxes.shape, boxes.dtype) == ((4,), np.int32, (4, 4), np.float64)
        assert all((label % 3 == 2) == (height > width) for label in labels.tolist())
    assert shapes.count((8, 12)) == 6 and shapes.count((12, 8)) == 3
    assert shapes != sorted(shapes) and shapes != sorted(shapes, reverse=True)
    seen = sum(labels_of(batches), [])
    assert len(set(seen)) == 36
    assert loader.seconds_waited > 0


def test_images_and_boxes_are_those_of_the_transform():
    transform = DetectionTransform(**TRANSFORM, flip_prob=0.5)
    for images, cells, labels, boxes in train_loader().epoch(3):
        for image, cell, label, box in zip(images, cells, labels.tolist(), boxes, strict=True):
            objects = Noise(40).objects(label)
            placed = transform(Noise(40).image(label), objects.boxes[1:], augmentation_stream(1, 3, label, 0))
            assert np.array_equal(image, placed.values) and np.array_equal(box, placed.boxes[0])
            assert cell[0, 0] == np.float32(placed.size[0] + placed.size[1] / 100)


def test_masks_and_what_encode_draws():
    """The masks of the image through its transform; draws from its own stream, where the transform stopped."""
    transform, data = DetectionTransform(**TRANSFORM, flip_prob=0.5), NoiseWithMasks(40)
    flips = set()
    for images, labels, boxes, masks, drawn in mask_loader().epoch(3):
        assert masks.shape == (4, 1, *images.shape[2:]) and masks.dtype == np.uint8
        for place, label in enumerate(labels.tolist()):
            stream = augmentation_stream(1, 3, label, 0)
            placed = transform(data.image(label), data.objects(label).boxes[1:], stream, masks=data.masks(label))
            assert np.array_equal(images[place], placed.values) and np.array_equal(boxes[place], placed.boxes[0])
            assert np.array_equal(masks[place], pad_to(placed.masks, images.shape[2:]))
            assert set(np.unique(masks[place])) == {0, label + 1}
            assert drawn[place] == stream.random()
            flips.add(placed.is_flipped)
    assert flips == {True, False}


def test_masks_are_those_of_the_image_that_is_read():
    """Not of the one that cannot be."""
    loader = mask_loader(12, bad=(1, 3, 11), on_bad_image="skip")
    for _, labels, _, masks, _ in loader.epoch(0):
        assert masks.max(axis=(1, 2, 3)).tolist() == [label + 1 for label in labels.tolist()]
    assert sorted(loader.bad_images)[-1] == 11


@pytest.mark.parametrize("workers", [1, 3])
def test_worker_processes_make_the_same_masks(workers):
    settings = {"bad": (3, 4, 5), "on_bad_image": "skip"}
    alone, loader = mask_loader(**settings), mask_loader(workers=workers, **settings)
    for epoch in (0, 1):
        assert_equal(copies(loader.epoch(epoch)), copies(alone.epoch(epoch)))
    loader.close()


def test_masks_that_cannot_be_made_are_no_bad_image():
    class Without(NoiseWithMasks):
        def masks(self, index):
            raise UserError("install it")

    settings = {**TRANSFORM, "flip_prob": 0.5, "batch_size": 4, "seed": 1, "workers": 0}
    loader = DetectionTrainLoader(Without(40), encode=TellMasks(), on_bad_image="skip", **settings)
    with pytest.raises(UserError, match="^install it$"):
        list(loader.epoch(0))
    assert loader.bad_images == {}


def test_a_function_of_seed_and_epoch():
    batches = copies(train_loader().epoch(3))
    assert_equal(batches, copies(train_loader().epoch(3)))
    for other in (train_loader().epoch(4), train_loader(seed=2).epoch(3)):
        assert labels_of(batches) != labels_of(copies(other))
    parts = [{frozenset(labels) for labels in labels_of(copies(train_loader().epoch(epoch)))} for epoch in (3, 4)]
    assert len(parts[0] & parts[1]) < 3  # other images together, not the same batches in another order
    canvases = {tuple(batch[0].shape[3] for batch in train_loader().epoch(epoch)) for epoch in range(5)}
    assert len(canvases) > 1


def test_square_canvas_has_one_shape():
    loader = train_loader(canvas=(12, 12), encode=None)
    assert [[array.shape for array in batch] for batch in loader.epoch(0)] == [[(4, 3, 12, 12)]] * 10
    assert len(loader) == 10 and loader.num_left_out == 0


def test_restart_in_the_middle_of_an_epoch():
    loader = train_loader(60, batch_size=2, accumulate=3)
    assert_equal(copies(loader.epoch(2))[4 * 3 :], copies(train_loader(60, batch_size=2, accumulate=3).epoch(2, 4)))


def test_same_global_batch_for_any_number_of_ranks():
    """8 images a step: on one device, on 2, accumulated twice or 4 times, or both; a step has one canvas."""
    whole = copies(train_loader(60, batch_size=8).epoch(1))
    for num_ranks, accumulate in ((2, 1), (1, 2), (2, 2), (1, 4)):
        split = {"batch_size": 8 // num_ranks // accumulate, "num_ranks": num_ranks, "accumulate": accumulate}
        loaders = [train_loader(60, rank=rank, **split) for rank in range(num_ranks)]
        assert [len(loader) for loader in loaders] == [len(whole)] * num_ranks
        ranks = [copies(loader.epoch(1)) for loader in loaders]
        for step, batch in enumerate(whole):
            parts = [part for rank in ranks for part in rank[step * accumulate : (step + 1) * accumulate]]
            together = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
            in_order, as_given = np.argsort(together[2]), np.argsort(batch[2])
            for one, another in zip(together, batch, strict=True):
                assert np.array_equal(one[in_order], another[as_given])


@pytest.mark.parametrize("workers", [1, 3])
def test_worker_processes_make_the_same(workers):
    """An epoch that is left in the middle, whole ones, and skipped images; then evaluation."""
    settings = {"bad": (3, 4, 5), "on_bad_image": "skip"}
    alone, loader = train_loader(**settings), train_loader(workers=workers, **settings)
    next(loader.epoch(0))
    for epoch in (0, 1):
        assert_equal(copies(loader.epoch(epoch)), copies(alone.epoch(epoch)))
    assert loader.bad_images == alone.bad_images != {}
    loader.close()
    alone, loader = (eval_loader(**settings, workers=number) for number in (0, workers))
    for _ in range(2):
        assert_equal(judged(loader), judged(alone))
    assert loader.bad_images == alone.bad_images == {index: f"cannot read image {index}.jpg" for index in (3, 4, 5)}


def test_train_skips_to_the_next_readable_image_of_the_canvas():
    loader = train_loader(12, bad=(1, 3, 11), batch_size=4, on_bad_image="skip")
    labels = labels_of(copies(loader.epoch(0)))
    landscape, portrait = sorted(labels, key=lambda batch: min(label % 3 == 2 for label in batch))[-2:]
    plain = labels_of(copies(train_loader(12).epoch(0)))
    instead = {1: 4, 3: 4, 11: 2}
    assert labels == [[instead.get(label, label) for label in batch] for batch in plain]
    assert portrait != landscape and 2 in portrait and 11 not in portrait
    assert loader.bad_images[11] == "cannot read image 11.jpg"


def test_no_readable_image():
    with pytest.raises(UserError, match="none of 4 training images of one shape can be read; the first: cannot read"):
        list(train_loader(12, bad=(2, 5, 8, 11), on_bad_image="skip").epoch(0))


@pytest.mark.parametrize("workers", [0, 2])
def test_error_surfaces_as_it_is(workers):
    loader = train_loader(bad=(7,), workers=workers)
    for _ in range(2):  # the workers are still there
        with pytest.raises(UserError, match="^cannot read image 7.jpg$"):
            for epoch in range(3):
                list(loader.epoch(epoch))
    with pytest.raises(UserError, match="^cannot read image 7.jpg$"):
        list(eval_loader(bad=(7,), workers=workers))


@pytest.mark.parametrize("length", [1, 3, 9, 10, 22])
@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_eval_covers_every_image_once(length, num_ranks):
    """Over all ranks; equally many batches, of the same canvases in the same order; the last may be empty."""
    transform = DetectionTransform(**TRANSFORM, flip_prob=0.0)
    seen, canvases = [], set()
    for rank in range(num_ranks):
        loader = eval_loader(length, rank=rank, num_ranks=num_ranks)
        batches = judged(loader)
        assert len(batches) == len(loader)
        canvases.add(tuple(batch[0].shape[2:] for batch in batches))
        for images, shapes, scales, indices, num_valid in batches:
            assert (images.dtype, images.flags.c_contiguous, len(images)) == (np.float32, True, 3)
            assert (shapes.shape, shapes.dtype, scales.shape, scales.dtype) == ((3, 2), np.float32, (3, 2), np.float32)
            assert (indices.shape, indices.dtype) == ((3,), np.int64)
            seen += indices[:num_valid].tolist()
            for place, index in enumerate(indices[:num_valid].tolist()):
                placed = transform(Noise(length).image(index), np.zeros((0, 4), np.float32))
                assert np.array_equal(images[place], placed.values) and shapes[place].tolist() == list(placed.size)
                assert scales[place].tolist() == [np.float32(factor) for factor in placed.scale]
            for array in (images, shapes, scales, indices) if num_valid else ():
                assert (array[num_valid:] == array[num_valid - 1]).all()
            if num_valid == 0:
                assert not images.any() and not indices.any() and (scales == 1).all()
                assert (shapes == images.shape[2:]).all()
    assert sorted(seen) == list(range(length)) and len(canvases) == 1


def test_eval_order_of_canvases():
    """22 images: 15 landscape and 7 portrait, in batches of 3."""
    batches = judged(eval_loader())
    assert [batch[0].shape[2:] for batch in batches] == [(8, 12)] * 5 + [(12, 8)] * 3
    indices = [index for batch in batches for index in batch[3][: batch[4]].tolist()]
    assert indices == [i for i in range(22) if i % 3 != 2] + [i for i in range(22) if i % 3 == 2]
    assert [batch[4] for batch in batches] == [3] * 7 + [1]


def test_eval_skips_bad_images():
    """Landscape 0 1 3 4 6 7, portrait 2 5 8."""
    loader = eval_loader(9, bad=(1, 2, 5, 8), on_bad_image="skip")
    assert [(batch[3].tolist(), batch[4]) for batch in judged(loader)] == [([0, 3, 3], 2), ([4, 6, 7], 3), ([0] * 3, 0)]
    assert sorted(loader.bad_images) == [1, 2, 5, 8]


@pytest.mark.parametrize("workers", [0, 1])
def test_left_in_the_middle(workers):
    for _ in train_loader(workers=workers).epoch(0):
        break
    batches = iter(eval_loader(workers=workers))
    next(batches)
    batches.close()


def test_encode_must_keep_its_word():
    with pytest.raises(ValueError, match=r"encode: 'cells' must be \(\d, 3\), got \(3,\)"):
        list(train_loader(encode=Wrong()).epoch(0))
    with pytest.raises(ValueError, match="encode has other names or types on another canvas"):
        train_loader(encode=OfAnotherType())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: train_loader(5, batch_size=6),
            "there are 4 landscape training images and 1 portrait training images, too few for one batch of 6 whose",
        ),
        (lambda: train_loader(3, canvas=(9, 9), batch_size=6), "there are 3 training images, too few for one batch"),
        (lambda: train_loader(num_ranks=4, accumulate=2), r"one batch of 32 = 4 \* 4 devices \* 2 accumulated whose"),
        (lambda: train_loader(seed=-1), "seed must not be negative, got -1"),
        (lambda: train_loader(batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: train_loader(accumulate=0), "accumulate must be at least 1, got 0"),
        (lambda: train_loader(rank=2, num_ranks=2), "rank must be at least 0 and below num_ranks, got rank 2 of 2"),
        (lambda: train_loader(workers=-1), "workers must be at least 0"),
        (lambda: train_loader(canvas=(12, 8)), "canvas must be"),
        (lambda: eval_loader(batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: eval_loader(rank=-1), "rank must be at least 0"),
        (lambda: eval_loader(on_bad_image="drop"), "on_bad_image must be 'error' or 'skip', got 'drop'"),
        (lambda: eval_loader(short_sides=(9,)), "short_sides must be"),
    ],
)  # fmt: skip
def test_wrong_arguments(make, message):
    with pytest.raises(UserError, match=message):
        make()
