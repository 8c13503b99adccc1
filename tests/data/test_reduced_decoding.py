"""Large JPEGs decoded to a part of their size: the same crops of the same pictures, and only where nothing is lost."""

import io

import numpy as np
import pytest
from PIL import Image

from src.data.labelled_files import LabelledFiles
from src.data.loader import TrainLoader
from src.data.read_image import decode_image, read_image
from src.data.reduced_decoding import read_reduced
from src.data.relabeled import Relabeled
from src.data.transforms import TrainTransform, draw_crop, scaled_box

HEIGHT, WIDTH = 1500, 2000
INPUT = {"image_size": 224, "mean": (0.5,) * 3, "std": (0.5,) * 3, "in_channels": 3}
CROP = {"crop_scale": (0.08, 1.0), "crop_ratio": (3 / 4, 4 / 3), "flip_prob": 0.5, "color_jitter": 0.0}
RECIPE = {
    **INPUT,
    **CROP,
    "rand_augment": None,
    "erase_prob": 0.0,
    "cutmix": 0.0,
    "mix_prob": 1.0,
    "mix_switch_prob": 0.5,
    "label_smoothing": 0.0,
    "seed": 3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three photographs, smooth, so that another way to shrink them changes little."""
    folder = tmp_path_factory.mktemp("photos")
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    for number in range(3):
        planes = [np.sin(x / (90 + 20 * number) + i) + np.cos(y / 70 - i - number) for i in range(3)]
        pixels = ((np.stack(planes, 2) + 2) * 63).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=95)
    return folder


def stream(seed):
    return np.random.default_rng(seed)


def transform(**changes):
    return TrainTransform(**INPUT, **CROP | changes, rand_augment=None)


def files(folder):
    return LabelledFiles(folder, ["0.jpg", "1.jpg", "2.jpg"], [0, 1, 2], ["a", "b", "c"])


def test_a_box_of_a_reduced_image():
    assert scaled_box((100, 50, 500, 250), (600, 800), (600, 800)) == (100, 50, 500, 250)
    assert scaled_box((100, 50, 501, 251), (601, 801), (301, 401)) == (50, 25, 251, 126)


@pytest.mark.parametrize("size,expected", [((896, 896), True), ((895, 2000), False), ((3000, 4000), True)])
def test_only_large_images_are_reduced(size, expected):
    assert transform().can_reduce(size) == expected


def test_a_reduced_crop_has_twice_the_sides_that_are_needed():
    size = 3000, 4000
    for seed in range(200):
        least = transform().least_size(size, stream(seed))
        left, top, right, bottom = draw_crop(stream(seed), size, CROP["crop_scale"], CROP["crop_ratio"])
        height, width = (bottom - top) * least[0] / size[0], (right - left) * least[1] / size[1]
        assert all(0 < side <= own for side, own in zip(least, size, strict=True))
        assert min(height, width) >= 448 - 1e-6 or least == size
        assert min(height, width) < 449 or least == size


def test_it_is_the_same_picture(folder):
    of_scale, whole = transform(crop_scale=(0.3, 1.0)), read_image(folder / "0.jpg")
    reductions = set()
    for seed in range(12):
        reduced = read_image(folder / "0.jpg", lambda size, seed=seed: of_scale.least_size(size, stream(seed)))
        reductions.add(round(whole.width / reduced.width))
        one = of_scale(reduced, stream(seed), (HEIGHT, WIDTH)).astype(int)
        assert np.abs(one - of_scale(whole, stream(seed))).mean() < 1.0
    assert reductions == {1, 2}


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_size_is_asked_for_once_and_kept_where_the_format_cannot_do_it(kind):
    content, asked = io.BytesIO(), []
    Image.new("RGB", (800, 600), (200, 10, 10)).save(content, kind)

    def least(size):
        asked.append(size)
        return 150, 200

    image = decode_image(content, lambda: "it", least)
    assert asked == [(600, 800)]
    assert image.size == ((800, 600) if kind == "PNG" else (200, 150))


@pytest.mark.parametrize("mixup", [0.0, 0.8])
def test_batches_are_those_of_whole_images_but_for_rounding(folder, monkeypatch, mixup):
    def batches():
        loader = TrainLoader(files(folder), **RECIPE, mixup=mixup, batch_size=3, repeats=1, workers=0)
        return [images.copy() for epoch in range(3) for images, _ in loader.epoch(epoch)]

    sizes = []
    call = TrainTransform.__call__
    monkeypatch.setattr(
        TrainTransform, "__call__", lambda self, image, *more: sizes.append(image.size) or call(self, image, *more)
    )
    reduced = batches()
    assert (WIDTH // 2, HEIGHT // 2) in sizes
    monkeypatch.setattr(TrainTransform, "can_reduce", lambda *_: False)
    differences = [np.abs(one - other) for one, other in zip(reduced, batches(), strict=True)]
    assert 0 < max(difference.mean() for difference in differences) < 0.01
    assert max(difference.max() for difference in differences) < 0.2  # of 2, from black to white


def test_several_crops_of_one_image_are_cut_from_the_whole(folder, monkeypatch):
    sizes = []
    call = TrainTransform.__call__
    monkeypatch.setattr(
        TrainTransform, "__call__", lambda self, image, *more: sizes.append(image.size) or call(self, image, *more)
    )
    loader = TrainLoader(files(folder), **RECIPE, mixup=0.0, batch_size=3, repeats=3, workers=0)
    list(loader.epoch(0))
    assert {size[0] for size in sizes} == {WIDTH}


def test_another_order_of_labels_keeps_it(folder):
    relabeled = Relabeled(files(folder), ["c", "b", "a"], [2, 1, 0])
    image, label = read_reduced(relabeled, 0, lambda size: (HEIGHT // 4, WIDTH // 4))
    assert (image.size, label) == ((WIDTH // 4, HEIGHT // 4), 2)
