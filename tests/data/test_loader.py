"""Batches: shapes, order, randomness that depends on nothing but what it decides, coverage, bad images, errors.

Most tests use no worker processes (`workers` = 0); that those give the same is a test of its own.
"""

import os
import threading
import time

import numpy as np
import pytest
from PIL import Image

from src.data import loader as loader_module
from src.data.epoch_order import epoch_order
from src.data.loader import EvalLoader, TrainLoader, num_threads, num_workers
from src.data.mixup import Mixing, mix_images
from src.data.random_erasing import RandomErasing
from src.data.random_streams import augmentation_stream, erasing_stream, mixing_stream, order_stream
from src.data.transforms import TrainTransform
from src.errors import UserError


class Noise:
    """Images of different sizes; the label is the index, so that batches tell what is in them."""

    def __init__(self, length, bad=()):
        self.length, self.bad = length, bad
        self.classes = [str(index) for index in range(length)]

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        assert type(index) is int and 0 <= index < self.length
        if index in self.bad:
            raise UserError(f"cannot read image {index}.jpg")
        pixels = np.random.default_rng(index).integers(0, 256, (12 + index % 5, 20, 3), dtype=np.uint8)
        return Image.fromarray(pixels), index


INPUT = {"image_size": (8, 12), "mean": (0.5,) * 3, "std": (0.25,) * 3, "in_channels": 3}
CROP = {"crop_scale": (0.08, 1.0), "crop_ratio": (3 / 4, 4 / 3), "flip_prob": 0.5, "color_jitter": 0.0}
PLAIN = {**CROP, "rand_augment": None, "erase_prob": 0.0, "mixup": 0.0, "cutmix": 0.0, "repeats": 1}
MIX = {"mix_prob": 1.0, "mix_switch_prob": 0.5, "label_smoothing": 0.1}
FULL = {"rand_augment": "rand-m9-mstd0.5-inc1", "erase_prob": 0.5, "mixup": 0.8, "cutmix": 1.0, "repeats": 3}


def train_loader(length=22, bad=(), **changes):
    settings = {**INPUT, **PLAIN, **MIX, "batch_size": 5, "seed": 1, "workers": 0, **changes}
    return TrainLoader(Noise(length, bad), **settings)


def eval_loader(length=22, bad=(), **changes):
    return EvalLoader(Noise(length, bad), **{**INPUT, "batch_size": 5, "crop_pct": 0.9, "workers": 0, **changes})


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    """So that three workers are three on any machine."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("data-")]


def copies(batches):
    """What was yielded, kept: images are only valid until the next batch is asked for."""
    return [(images.copy(), *rest) for images, *rest in batches]


def judged(loader):
    """Images, labels and how many count, of each batch of evaluation."""
    return [(images.copy(), labels, num_valid) for (images,), (labels, _), num_valid in loader]


def joined(batches):
    images, labels = zip(*copies(batches), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def assert_equal(batches, others):
    for batch, other in zip(batches, others, strict=True):
        for one, another in zip(batch, other, strict=True):
            assert np.array_equal(one, another)


def test_train_batches():
    loader = train_loader()
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader) == 4
    for images, labels in batches:
        assert (images.shape, images.dtype, images.flags.c_contiguous) == ((5, 3, 8, 12), np.float32, True)
        assert (labels.shape, labels.dtype) == ((5,), np.int32)
    _, labels = joined(batches)
    assert labels.tolist() == order_stream(1, 0).permutation(22)[:20].tolist()
    assert loader.seconds_waited > 0


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


@pytest.mark.parametrize("batch_size", [6, 7])
def test_full_recipe_step_by_step(batch_size):
    """The second step of epoch 1 of two; with an odd batch the middle image is mixed with itself."""
    loader = train_loader(22, batch_size=batch_size, **FULL)
    _, (images, targets) = copies(loader.epoch(1))[:2]
    indices, repetitions = (values[batch_size : 2 * batch_size] for values in epoch_order(22, 1, 1, 3))
    assert repetitions.max() == 2
    transform = TrainTransform(**INPUT, **CROP, rand_augment=FULL["rand_augment"])
    keys = list(zip(indices.tolist(), repetitions.tolist(), strict=True))
    pixels = [transform(Noise(22)[index][0], augmentation_stream(1, 1, index, copy)) for index, copy in keys]
    mixing = Mixing(
        mixup_alpha=0.8,
        cutmix_alpha=1.0,
        probability=1.0,
        switch_probability=0.5,
        label_smoothing=0.1,
        num_classes=22,
    )
    mix = mixing.draw(mixing_stream(1, len(loader) + 1), (8, 12))
    for position, key in enumerate(keys):
        expected = transform.normalize(mix_images(pixels[position], pixels[-1 - position], mix))
        RandomErasing(0.5)(expected, erasing_stream(1, 1, *key))
        assert np.array_equal(images[position], expected)
    assert (targets.shape, targets.dtype) == ((batch_size, 22), np.float32)
    assert np.array_equal(targets, mixing.targets(indices, indices[::-1], mix))


@pytest.mark.parametrize("recipe", [PLAIN, FULL])
def test_same_micro_batches_of_all_ranks_for_any_number_of_them(recipe):
    """A synchronised batch norm sees the same images; 16 a step in 2 micro-batches."""

    def micro_batches(num_ranks):
        loaders = [
            train_loader(40, batch_size=8 // num_ranks, rank=rank, num_ranks=num_ranks, accumulate=2, **recipe)
            for rank in range(num_ranks)
        ]
        ranks = [[images for images, _ in copies(loader.epoch(1))] for loader in loaders]
        return [{image.tobytes() for part in parts for image in part} for parts in zip(*ranks, strict=True)]

    alone = micro_batches(1)
    assert [len(images) for images in alone] == [8] * 4
    assert micro_batches(2) == micro_batches(4) == alone


@pytest.mark.parametrize("recipe", [PLAIN, FULL])
def test_same_global_batch_for_any_number_of_ranks(recipe):
    """12 images a step: on one device, on 3, accumulated twice, or both."""
    whole = copies(train_loader(40, batch_size=12, **recipe).epoch(1))
    for num_ranks, accumulate in ((3, 1), (1, 2), (3, 2)):
        batch_size = 12 // num_ranks // accumulate
        split = {"batch_size": batch_size, "num_ranks": num_ranks, "accumulate": accumulate, **recipe}
        loaders = [train_loader(40, rank=rank, **split) for rank in range(num_ranks)]
        ranks = [copies(loader.epoch(1)) for loader in loaders]
        assert [len(loader) for loader in loaders] == [3] * num_ranks
        for step, (images, targets) in enumerate(whole):
            parts = [part for rank in ranks for part in rank[step * accumulate : (step + 1) * accumulate]]
            part_images, part_targets = (np.concatenate(values) for values in zip(*parts, strict=True))
            rows = {image.tobytes(): target for image, target in zip(images, targets, strict=True)}
            assert len(rows) == 12
            for image, target in zip(part_images, part_targets, strict=True):
                assert np.array_equal(rows.pop(image.tobytes()), target)
            assert not rows


def test_partners_are_in_the_same_part():
    """Half and half of two images, so that targets name the partners."""
    loaders = [
        train_loader(8, batch_size=4, num_ranks=2, rank=rank, mixup=1e9, label_smoothing=0.0) for rank in range(2)
    ]
    order = order_stream(1, 0).permutation(8).tolist()
    partners = {order[i]: order[7 - i] for i in range(8)}
    for loader in loaders:
        ((_, targets),) = loader.epoch(0)
        for target in targets:
            first, second = np.flatnonzero(target > 0.4).tolist()
            assert partners[first] == second


def test_restart_in_the_middle_of_an_epoch():
    loader = train_loader(40, batch_size=4, accumulate=2, **FULL)
    assert_equal(
        copies(loader.epoch(2))[3 * 2 :], copies(train_loader(40, batch_size=4, accumulate=2, **FULL).epoch(2, 3))
    )


def test_an_image_is_read_once_for_its_repetitions():
    asked = []

    class Counting(Noise):
        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index)

    settings = {**INPUT, **PLAIN, **MIX, "repeats": 3, "batch_size": 12, "seed": 0, "workers": 0}
    assert len(list(TrainLoader(Counting(12), **settings).epoch(0))) == 1
    assert asked == order_stream(0, 0).permutation(12)[:4].tolist()


@pytest.mark.parametrize("workers", [1, 3])
def test_worker_processes_make_the_same(workers):
    """An epoch that is left in the middle, whole ones, and skipped images."""
    settings = {"batch_size": 6, "bad": (3, 4), "on_bad_image": "skip", **FULL}
    alone, loader = train_loader(40, **settings), train_loader(40, workers=workers, **settings)
    next(loader.epoch(0))
    for epoch in (0, 1):
        assert_equal(copies(loader.epoch(epoch)), copies(alone.epoch(epoch)))
    assert loader.bad_images == alone.bad_images != {}
    loader.close()
    alone, loader = (
        eval_loader(bad=(7,), on_bad_image="skip"),
        eval_loader(bad=(7,), on_bad_image="skip", workers=workers),
    )
    for _ in range(2):
        assert_equal(judged(loader), judged(alone))
    assert loader.bad_images == alone.bad_images == {7: "cannot read image 7.jpg"}


def test_batches_of_workers_are_valid_until_the_next():
    """The ring has memory for three batches, so the fourth is where the first was."""
    loader = train_loader(100, workers=1)
    batches = [images for images, _ in loader.epoch(0)]
    assert not np.shares_memory(batches[0], batches[1])
    assert len({images.ctypes.data for images in batches}) == loader_module.BATCHES_AHEAD + 1


@pytest.mark.parametrize(("length", "num_batches", "last"), [(22, 5, 2), (20, 4, 5), (3, 1, 3), (5, 1, 5), (6, 2, 1)])
def test_eval_covers_every_image_once(length, num_batches, last):
    loader = eval_loader(length)
    assert len(loader) == num_batches
    for _ in range(2):  # a loader can be iterated again
        seen, counts = [], []
        for (images,), (labels, indices), num_valid in loader:
            assert (images.shape, images.dtype, images.flags.c_contiguous) == ((5, 3, 8, 12), np.float32, True)
            assert (labels.shape, labels.dtype) == ((5,), np.int32)
            seen += labels[:num_valid].tolist()
            assert (indices == labels).all() and indices.dtype == np.int64
            counts.append(num_valid)
            assert (images[num_valid:] == images[num_valid - 1]).all()
            assert (labels[num_valid:] == labels[num_valid - 1]).all()
        assert seen == list(range(length))
        assert counts == [5] * (num_batches - 1) + [last]


@pytest.mark.parametrize("length", [22, 20, 11, 2])
def test_eval_over_ranks(length):
    """Three ranks see every image once between them, in equally many batches; the last may be empty."""
    seen, num_batches = [], set()
    for rank in range(3):
        batches = judged(eval_loader(length, rank=rank, num_ranks=3))
        seen += [label for _, labels, num_valid in batches for label in labels[:num_valid].tolist()]
        assert all(label % 3 == rank for _, labels, num_valid in batches for label in labels[:num_valid])
        num_batches.add(len(batches))
        if length == 2 and rank == 2:
            ((images, labels, num_valid),) = batches
            assert num_valid == 0 and not images.any() and not labels.any()
    assert sorted(seen) == list(range(length))
    assert num_batches == {-(-length // 15)}


def test_eval_skips_bad_images():
    loader = eval_loader(12, bad=(1, 3, 10, 11), on_bad_image="skip")
    whole = {
        label: image
        for (images,), (labels, _), _ in eval_loader(12)
        for label, image in zip(labels, images, strict=True)
    }
    batches = judged(loader)
    assert [num_valid for *_, num_valid in batches] == [3, 5, 0]
    assert [labels.tolist() for _, labels, _ in batches] == [[0, 2, 4, 4, 4], [5, 6, 7, 8, 9], [0] * 5]
    for images, labels, num_valid in batches:
        for image, label in zip(images[:num_valid], labels, strict=False):
            assert np.array_equal(image, whole[label])
    assert loader.bad_images == {index: f"cannot read image {index}.jpg" for index in (1, 3, 10, 11)}


def test_train_skips_to_the_next_readable_image():
    loader = train_loader(6, bad=(2, 3, 5), batch_size=6, on_bad_image="skip")
    ((images, labels),) = loader.epoch(0)
    order = order_stream(1, 0).permutation(6).tolist()
    instead = {0: 0, 1: 1, 2: 4, 3: 4, 4: 4, 5: 0}
    assert labels.tolist() == [instead[index] for index in order]
    assert loader.bad_images == {index: f"cannot read image {index}.jpg" for index in (2, 3, 5)}
    transform = TrainTransform(**INPUT, **CROP, rand_augment=None)
    expected = transform(Noise(6)[4][0], augmentation_stream(1, 0, 2, 0))  # with the draws of the bad image
    assert np.array_equal(images[order.index(2)], transform.normalize(expected))


def test_no_readable_image():
    with pytest.raises(UserError, match="none of the 6 training images can be read; the first: cannot read image"):
        list(train_loader(6, bad=range(6), on_bad_image="skip").epoch(0))


@pytest.mark.parametrize("workers", [0, 2])
def test_error_surfaces_at_its_batch_as_it_is(workers):
    batches = iter(eval_loader(22, bad=(7, 8), workers=workers))
    next(batches)
    with pytest.raises(UserError, match="^cannot read image 7.jpg$"):
        next(batches)
    loader = train_loader(22, bad=(7, 8), workers=workers)
    for _ in range(2):  # the workers are still there
        with pytest.raises(UserError, match="^cannot read image [78].jpg$"):
            list(loader.epoch(0))


def test_grey_input():
    grey = {"in_channels": 1, "mean": (0.5,), "std": (0.5,)}
    assert next(train_loader(**grey).epoch(0))[0].shape == (5, 1, 8, 12)
    assert next(train_loader(**grey, **FULL).epoch(0))[0].shape == (5, 1, 8, 12)
    assert next(iter(eval_loader(**grey))).inputs[0].shape == (5, 1, 8, 12)


def test_without_workers_two_batches_ahead_and_no_more():
    asked = []

    class Counting(Noise):
        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index)

    loader = EvalLoader(Counting(100), **INPUT, batch_size=5, crop_pct=0.9, workers=0)
    batches = iter(loader)
    assert asked == []
    next(batches)
    until = time.monotonic() + 10
    while len(asked) < 10 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(asked) == 5 * loader_module.BATCHES_AHEAD


@pytest.mark.parametrize("workers", [0, 1])
def test_left_in_the_middle(workers):
    for _ in train_loader(100, workers=workers).epoch(0):
        break
    batches = iter(eval_loader(100, workers=workers))
    next(batches)
    batches.close()


def test_beginning_another_epoch_ends_this_one():
    loader = train_loader(100, workers=1)
    first = loader.epoch(0)
    next(first)
    second = loader.epoch(1)
    next(second)
    with pytest.raises(RuntimeError, match="others of the same loader were begun"):
        next(first)
    next(second)


def test_workers_are_bounded_by_the_cores():
    assert [num_workers(workers) for workers in (0, 1, 3, 4, 500)] == [0, 1, 3, 4, 4]
    assert [num_threads(workers) for workers in (0, 1, 500)] == [1, 1, 4]
    with pytest.raises(UserError, match="workers must be at least 0, got -1"):
        num_workers(-1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: train_loader(4), "has 4 training images, fewer than one batch of 5; lower batch_size or add images"),
        (lambda: train_loader(19, num_ranks=2, accumulate=2), r"one batch of 20 = 5 \* 2 devices \* 2 accumulated"),
        (lambda: train_loader(seed=-1), "seed must not be negative, got -1"),
        (lambda: train_loader(batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: train_loader(repeats=0), "repeats must be at least 1, got 0"),
        (lambda: train_loader(accumulate=0), "accumulate must be at least 1, got 0"),
        (lambda: train_loader(num_ranks=2, mixup=0.8), "batch_size must be even to mix images"),
        (lambda: train_loader(rank=2, num_ranks=2), "rank must be at least 0 and below num_ranks, got rank 2 of 2"),
        (lambda: eval_loader(rank=-1), "rank must be at least 0"),
        (lambda: eval_loader(on_bad_image="drop"), "on_bad_image must be 'error' or 'skip', got 'drop'"),
        (lambda: eval_loader(batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: train_loader(in_channels=4), "in_channels must be 3"),
        (lambda: eval_loader(in_channels=1), "mean must have one finite value for each of 1 channels"),
        (lambda: train_loader(workers=-1), "workers must be at least 0"),
        (lambda: train_loader(erase_prob=2), "erase_prob must be"),
        (lambda: train_loader(mixup=-1), "mixup must be"),
        (lambda: eval_loader(crop_pct=2), "crop_pct must be"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_data_set_of_the_running_script(monkeypatch):
    monkeypatch.setattr(Noise, "__module__", "__main__")
    with pytest.raises(UserError, match="defined in the script that is running.*set workers to 0"):
        eval_loader(workers=1)
    eval_loader(workers=0)
