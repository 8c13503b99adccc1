"""Batches: shapes, order, randomness that depends on nothing but seed, epoch and index, coverage, errors."""

import os
import threading
import time

import numpy as np
import pytest
from PIL import Image

from src.data import loader as loader_module
from src.data.loader import EvalLoader, TrainLoader, num_threads
from src.data.random_streams import augmentation_stream, order_stream
from src.data.transforms import TrainTransform
from src.errors import UserError


class Noise:
    """Images of different sizes; the label is the index, so that batches tell what is in them."""

    classes = ["any"]

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        assert type(index) is int and 0 <= index < self.length
        time.sleep(0.003 * (index % 3 == 0))
        pixels = np.random.default_rng(index).integers(0, 256, (12 + index % 5, 20, 3), dtype=np.uint8)
        return Image.fromarray(pixels), index


INPUT = {"image_size": (8, 12), "mean": (0.5,) * 3, "std": (0.25,) * 3, "in_channels": 3}
CROP = {"crop_scale": (0.08, 1.0), "crop_ratio": (3 / 4, 4 / 3), "flip_prob": 0.5}


def train_loader(length=22, **changes):
    return TrainLoader(Noise(length), **{**INPUT, **CROP, "batch_size": 5, "seed": 1, "workers": 2, **changes})


def eval_loader(length=22, **changes):
    return EvalLoader(Noise(length), **{**INPUT, "batch_size": 5, "crop_pct": 0.9, "workers": 2, **changes})


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    """So that four workers are four threads on any machine."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("data-")]


def joined(batches):
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_train_batches():
    loader = train_loader()
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader) == 4
    for images, labels in batches:
        assert (images.shape, images.dtype, images.flags.c_contiguous) == ((5, 3, 8, 12), np.float32, True)
        assert (labels.shape, labels.dtype) == ((5,), np.int32)
    _, labels = joined(batches)
    assert len(set(labels.tolist())) == 20  # none twice, two left out
    assert labels.tolist() != sorted(labels.tolist())


def test_train_batches_do_not_share_memory():
    first, second = list(train_loader(10).epoch(0))
    assert not np.shares_memory(first[0], second[0]) and not np.shares_memory(first[1], second[1])


def test_train_is_a_function_of_seed_and_epoch():
    images, labels = joined(train_loader().epoch(3))
    again_images, again_labels = joined(train_loader().epoch(3))
    assert np.array_equal(images, again_images) and np.array_equal(labels, again_labels)
    for other in (train_loader().epoch(4), train_loader(seed=2).epoch(3)):
        other_images, other_labels = joined(other)
        assert not np.array_equal(labels, other_labels)
        index = (set(labels.tolist()) & set(other_labels.tolist())).pop()
        assert not np.array_equal(images[labels == index], other_images[other_labels == index])


def test_augmentation_depends_on_the_index_not_the_place():
    """The same image in sets of different size and batches of different size: another place, the same pixels."""
    images, labels = joined(train_loader(22, batch_size=5).epoch(2))
    other_images, other_labels = joined(train_loader(40, batch_size=8).epoch(2))
    common = set(labels.tolist()) & set(other_labels.tolist())
    assert common
    for index in common:
        assert np.array_equal(images[labels == index], other_images[other_labels == index])


def test_train_uses_the_stream_of_each_sample():
    images, labels = next(train_loader().epoch(6))
    assert labels.tolist() == order_stream(1, 6).permutation(22)[:5].tolist()
    transform = TrainTransform(**INPUT, **CROP)
    for image, index in zip(images, labels.tolist(), strict=True):
        assert np.array_equal(image, transform(Noise(22)[index][0], augmentation_stream(1, 6, index)))


def test_streams_are_independent():
    """NumPy takes [a, b] and [a, b, 0] for the same key; no order may share its draws with a sample."""
    small = range(3)
    draws = {order_stream(seed, epoch).random() for seed in small for epoch in small}
    draws |= {augmentation_stream(seed, epoch, i).random() for seed in small for epoch in small for i in small}
    assert len(draws) == 9 + 27


def test_same_batches_with_any_number_of_workers():
    expected = joined(train_loader(workers=1).epoch(0))
    for workers in (2, 4):
        images, labels = joined(train_loader(workers=workers).epoch(0))
        assert np.array_equal(images, expected[0]) and np.array_equal(labels, expected[1])
    for one, four in zip(eval_loader(workers=1), eval_loader(workers=4), strict=True):
        assert np.array_equal(one[0], four[0]) and np.array_equal(one[1], four[1]) and one[2] == four[2]


@pytest.mark.parametrize(("length", "num_batches", "last"), [(22, 5, 2), (20, 4, 5), (3, 1, 3), (5, 1, 5), (6, 2, 1)])
def test_eval_covers_every_image_once(length, num_batches, last):
    loader = eval_loader(length)
    assert len(loader) == num_batches
    for _ in range(2):  # a loader can be iterated again
        seen, counts = [], []
        for images, labels, num_valid in loader:
            assert (images.shape, images.dtype, images.flags.c_contiguous) == ((5, 3, 8, 12), np.float32, True)
            assert (labels.shape, labels.dtype) == ((5,), np.int32)
            seen += labels[:num_valid].tolist()
            counts.append(num_valid)
            assert (images[num_valid:] == images[num_valid - 1]).all()
            assert (labels[num_valid:] == labels[num_valid - 1]).all()
        assert seen == list(range(length))
        assert counts == [5] * (num_batches - 1) + [last]


def test_grey_input():
    grey = {"in_channels": 1, "mean": (0.5,), "std": (0.5,)}
    assert next(train_loader(**grey).epoch(0))[0].shape == (5, 1, 8, 12)
    assert next(iter(eval_loader(**grey)))[0].shape == (5, 1, 8, 12)


def test_error_surfaces_at_its_batch_as_it_is():
    class Broken(Noise):
        def __getitem__(self, index):
            if index in (7, 8):
                raise UserError(f"cannot read image {index}.jpg")
            return super().__getitem__(index)

    loader = EvalLoader(Broken(22), **INPUT, batch_size=5, crop_pct=0.9, workers=4)
    batches = iter(loader)
    next(batches)
    with pytest.raises(UserError, match="^cannot read image 7.jpg$"):
        next(batches)


def test_loads_two_batches_ahead_and_no_more():
    asked = []

    class Counting(Noise):
        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index)

    loader = EvalLoader(Counting(100), **INPUT, batch_size=5, crop_pct=0.9, workers=4)
    batches = iter(loader)
    assert asked == []
    next(batches)
    until = time.monotonic() + 10
    while len(asked) < 14 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(asked) == 5 + 5 * loader_module.BATCHES_AHEAD - 1


def test_left_in_the_middle():
    for _ in train_loader(100).epoch(0):
        break
    batches = train_loader(100).epoch(1)
    next(batches)
    batches.close()


def test_workers_are_bounded_by_the_cores():
    assert [num_threads(workers) for workers in (1, 3, 4, 500)] == [1, 3, 4, 4]
    with pytest.raises(UserError, match="workers must be at least 1, got 0"):
        num_threads(0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: train_loader(4), r"has 4 images, fewer than one batch of 5; set batch_size to at most 4"),
        (lambda: train_loader(seed=-1), "seed must not be negative, got -1"),
        (lambda: train_loader(batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: eval_loader(batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: train_loader(in_channels=4), "in_channels must be 3"),
        (lambda: eval_loader(in_channels=1), "mean must have one finite value for each of 1 channels"),
        (lambda: train_loader(workers=0), "workers must be at least 1"),
        (lambda: eval_loader(crop_pct=2), "crop_pct must be"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(UserError, match=message):
        make()
