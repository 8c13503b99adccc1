"""A detector's input: against mmdetection's transforms (tests/reference/detection), by hand, wrong arguments."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.box_transforms import (
    DetectionTransform,
    flip_boxes,
    pad_to,
    resize_boxes,
    resize_image,
    resize_masks,
    resized_size,
)
from src.errors import UserError
from tests.draws import Draws

CASE = Path(__file__).parents[1] / "reference" / "detection" / "transforms"
SETTINGS = {"canvas": (8, 12), "short_sides": (8,), "flip_prob": 0.5, "mean": (0.5, 0.25, 0.125), "std": (0.25,) * 3}
NO_BOXES = np.zeros((0, 4), np.float32)


@pytest.fixture(scope="module")
def case():
    with np.load(CASE.with_suffix(".npz")) as arrays:
        return json.loads(CASE.with_suffix(".json").read_text()), dict(arrays)


def transform(**changes):
    return DetectionTransform(**{**SETTINGS, **changes})


def photo(height, width):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_reference_sizes(case):
    facts, _ = case
    for entry in facts["sizes"]:
        size, scale = resized_size(tuple(entry["shape"]), tuple(facts["settings"]["scale"]))
        assert list(size) == entry["resized"]
        assert scale == pytest.approx(entry["scale_factor_wh"], rel=1e-12)


def test_reference_pipeline(case):
    """Resize to (101, 64), flip, pad to a multiple of 32."""
    facts, arrays = case
    steps = facts["pipeline"]
    size, scale = resized_size(arrays["image"].shape[:2], tuple(steps["resize"]["scale"]))
    assert list(size) == steps["resize"]["image_shape"]
    image = resize_image(arrays["image"], size)
    difference = np.abs(image.astype(int) - arrays["resize/image"])
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01
    boxes = resize_boxes(arrays["boxes"], scale, size)
    assert boxes.dtype == np.float32 and np.abs(boxes - arrays["resize/boxes"]).max() < 1e-5 * 92
    masks = resize_masks(arrays["masks"], size)
    assert np.array_equal(masks, arrays["resize/masks"])
    boxes, image, masks = flip_boxes(boxes, size[1]), image[:, ::-1], masks[:, :, ::-1]
    assert boxes.dtype == np.float32 and np.abs(boxes - arrays["flip/boxes"]).max() < 1e-5 * 92
    assert np.array_equal(masks, arrays["flip/masks"])
    canvas = tuple(steps["pad"]["image_shape"])
    assert np.array_equal(pad_to(masks, canvas), arrays["pad/masks"])
    padded = pad_to(image.transpose(2, 0, 1), canvas).transpose(1, 2, 0)
    assert np.abs(padded.astype(int) - arrays["pad/image"]).max() <= 1
    assert not padded[:, 92:].any() and padded.shape == arrays["pad/image"].shape


def test_bilinear_by_hand():
    """Three times as wide: centres at -1/3, 0, 1/3, 2/3, 1, 4/3; half as high: the mean of two rows."""
    row = np.array([[[30], [90]]], np.uint8)
    assert resize_image(row, (1, 6)).ravel().tolist() == [30, 30, 50, 70, 90, 90]
    column = np.array([10, 20, 30, 50], np.uint8).reshape(4, 1, 1)
    assert resize_image(column, (2, 1)).ravel().tolist() == [15, 40]
    assert resize_image(column, (4, 1)) is column


@pytest.mark.parametrize("size", [(37, 61), (90, 33), (11, 7), (1, 1), (200, 150)])
def test_bilinear_is_the_formula_in_floating_point(size):
    pixels = np.asarray(photo(48, 57))
    at = [np.clip((np.arange(n) + 0.5) * old / n - 0.5, 0, old - 1) for n, old in zip(size, (48, 57), strict=True)]
    (low_y, low_x), (y, x) = (np.floor(a).astype(int) for a in at), at
    high_y, high_x = np.minimum(low_y + 1, 47), np.minimum(low_x + 1, 56)
    y, x = (y - low_y)[:, None, None], (x - low_x)[None, :, None]
    upper = pixels[low_y][:, low_x] * (1 - x) + pixels[low_y][:, high_x] * x
    lower = pixels[high_y][:, low_x] * (1 - x) + pixels[high_y][:, high_x] * x
    assert np.abs(resize_image(pixels, size) - (upper * (1 - y) + lower * y)).max() < 1


def test_masks_by_hand():
    """Four of three: floor(i * 3 / 4) = 0, 0, 1, 2."""
    masks = np.array([[[1, 2, 3]]], np.uint8)
    assert resize_masks(masks, (2, 4)).tolist() == [[[1, 1, 2, 3]] * 2]
    assert resize_masks(masks[:0], (2, 4)).shape == (0, 2, 4)


def test_very_long_images_keep_a_pixel():
    assert resized_size((1, 5000), (1000, 800))[0] == (1, 1000)
    assert resized_size((5000, 1), (1000, 800)) == ((1000, 1), (1.0, 0.2))


def test_boxes_are_clipped_and_flipped():
    boxes = np.array([[-1, 2, 3, 50], [1, 1, 2, 2]], np.float32)
    resized = resize_boxes(boxes, (2.0, 0.5), (10, 20))
    assert resized.tolist() == [[0, 1, 6, 10], [2, 0.5, 4, 1]]
    assert flip_boxes(resized, 20).tolist() == [[14, 1, 20, 10], [16, 0.5, 18, 1]]
    assert resize_boxes(NO_BOXES, (2.0, 0.5), (10, 20)).shape == flip_boxes(NO_BOXES, 20).shape == (0, 4)


def test_evaluation():
    """4 x 5 pixels on a canvas of 8 x 12: twice as large, 8 x 10; no draws."""
    image = photo(4, 5)
    placed = transform(short_sides=(5, 8, 6), flip_prob=1.0)(image, np.array([[1, 1, 4, 3]], np.float32))
    assert (placed.size, placed.scale, placed.is_flipped) == ((8, 10), (2.0, 2.0), False)
    assert placed.boxes.tolist() == [[2, 2, 8, 6]] and placed.boxes.dtype == np.float32
    assert (placed.values.shape, placed.values.dtype) == ((3, 8, 12), np.float32)
    pixels = resize_image(np.asarray(image), (8, 10)).astype(np.float32).transpose(2, 0, 1)
    mean, std = np.float32(SETTINGS["mean"]).reshape(3, 1, 1), np.float32(0.25)
    assert np.array_equal(placed.values[:, :, :10], (pixels / np.float32(255) - mean) / std)
    assert not placed.values[:, :, 10:].any()


def test_training():
    """Draws: which short side, then whether to flip."""
    image, boxes = photo(4, 5), np.array([[1, 1, 4, 3]], np.float32)
    multi_scale = transform(short_sides=range(4, 9))
    placed = multi_scale(image, boxes, Draws(0, 0.49))
    assert (placed.size, placed.scale, placed.is_flipped) == ((4, 5), (1.0, 1.0), True)
    assert placed.boxes.tolist() == [[1, 1, 4, 3]]  # 5 - 4, 5 - 1
    plain = multi_scale(image, boxes, Draws(0, 0.5))
    assert not plain.is_flipped
    assert np.array_equal(placed.values[:, :4, :5], plain.values[:, :4, 4::-1])
    assert np.array_equal(pickle.loads(pickle.dumps(multi_scale))(image, boxes, Draws(0, 0.5)).values, plain.values)
    assert multi_scale(image, boxes, Draws(2, 0.5)).size == (6, 8)  # 7.5 rounded up


@pytest.mark.parametrize("draw,is_flipped", [(0.49, True), (0.5, False)])
def test_masks_go_with_boxes(draw, is_flipped):
    """Each mask fills its box; in the resized image, not on the canvas."""
    boxes = np.array([[0, 0, 2, 3], [1, 1, 5, 4], [4, 0, 5, 1]], np.float32)
    masks = np.zeros((3, 4, 5), np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
        mask[y0:y1, x0:x1] = 1
    placed = transform()(photo(4, 5), boxes, Draws(0, draw), masks=masks)
    assert placed.is_flipped == is_flipped and placed.size == (8, 10)
    assert placed.masks.shape == (3, 8, 10) and placed.masks.dtype == np.uint8
    for mask, (x0, y0, x1, y1) in zip(placed.masks, placed.boxes.astype(int), strict=True):
        assert mask[y0:y1, x0:x1].all() and mask.sum() == (y1 - y0) * (x1 - x0)
    assert masks.sum() == 6 + 12 + 1  # those that were given stay
    assert transform()(photo(4, 5), boxes, Draws(0, draw)).masks is None
    assert transform()(photo(4, 5), NO_BOXES, Draws(0, draw), masks=masks[:0]).masks.shape == (0, 8, 10)


def test_masks_change_no_draw():
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    multi_scale, boxes = transform(short_sides=range(4, 9)), np.array([[1, 1, 4, 3]], np.float32)
    for _ in range(5):
        placed = multi_scale(photo(4, 5), boxes, one)
        with_masks = multi_scale(photo(4, 5), boxes, other, masks=np.ones((1, 4, 5), np.uint8))
        assert np.array_equal(placed.values, with_masks.values) and np.array_equal(placed.boxes, with_masks.boxes)


def test_orientation():
    landscape = transform()
    assert landscape.canvases == [(8, 12), (12, 8)]
    assert [landscape.canvas_of(size) for size in ((9, 9), (9, 10), (10, 9))] == [(8, 12), (8, 12), (12, 8)]
    placed = landscape(photo(30, 10), NO_BOXES)
    assert (placed.values.shape, placed.size, placed.boxes.shape) == ((3, 12, 8), (12, 4), (0, 4))
    square = transform(canvas=(12, 12))
    assert square.canvases == [(12, 12)] and square.canvas_of((10, 9)) == (12, 12)


def test_long_side_is_bounded():
    assert transform(long_side=10)(photo(10, 100), NO_BOXES).size == (1, 10)
    assert transform()(photo(10, 100), NO_BOXES).size == (1, 12)


@pytest.mark.parametrize("size", [(1, 1), (1, 999), (999, 1), (333, 500), (500, 333), (427, 640), (97, 89), (64, 64)])
def test_every_image_fits(size):
    for short_side in range(1, 9):
        placed = transform(short_sides=(short_side,))(photo(*size), NO_BOXES)
        height, width = placed.values.shape[1:]
        assert 1 <= placed.size[0] <= height and 1 <= placed.size[1] <= width


def test_into_given_memory():
    """Whatever was there before."""
    out = np.full((3, 8, 12), 7, np.float32)
    placed = transform()(photo(4, 5), NO_BOXES, out=out)
    assert placed.values is out and np.array_equal(out, transform()(photo(4, 5), NO_BOXES).values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"canvas": (12, 8)}, r"canvas must be \(height, width\) in pixels, not higher than wide, got \[12, 8\]"),
        ({"canvas": (0, 8)}, "canvas must be"),
        ({"canvas": (8.0, 8)}, "canvas must be"),
        ({"short_sides": ()}, r"short_sides must be one or more sides from 1 to the canvas's height of 8 pixels"),
        ({"short_sides": (4, 9)}, r"short_sides must be .* got \[4, 9\]"),
        ({"short_sides": range(5, 10)}, r"short_sides must be .* got range\(5, 10\)"),
        ({"short_sides": (0,)}, "short_sides must be"),
        ({"long_side": 13}, "long_side must be from the largest short side, 8, to the canvas's width, 12, got 13"),
        ({"long_side": 7}, "long_side must be"),
        ({"flip_prob": 1.5}, "flip_prob must be from 0 to 1, got 1.5"),
        ({"mean": (0.5,)}, r"mean must have a finite value for each of R, G and B, got \[0.5\]"),
        ({"std": (0.5, 0.5, float("nan"))}, "std must have a finite value"),
        ({"std": (0.5, 0.5, 0)}, "std must be positive"),
    ],
)  # fmt: skip
def test_wrong_arguments(changes, message):
    with pytest.raises(UserError, match=message):
        transform(**changes)
