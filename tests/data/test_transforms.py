"""Each step against numbers that can be checked by hand; random ones with scripted draws."""

import math

import numpy as np
import pytest
from PIL import Image

from src.data import transforms
from src.data.color_jitter import ColorJitter
from src.data.rand_augment import RandAugment
from src.data.transforms import EvalTransform, TrainTransform
from src.errors import UserError
from tests.draws import Draws

BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "in_channels": 3}
HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "in_channels": 3}
GREY = {"mean": (0.5,), "std": (0.25,), "in_channels": 1}
PLAIN = {"rand_augment": None, "color_jitter": 0.0}
CROP = {"crop_scale": (0.08, 1.0), "crop_ratio": (3 / 4, 4 / 3), "flip_prob": 0.5, **PLAIN}
WHOLE = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "flip_prob": 0.0, **PLAIN}


def grey(rows):
    return Image.fromarray(np.array(rows, np.uint8))


def noise(height, width, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("size", "crop_pct", "expected"),
    [(224, 0.9, 248), (192, 0.9, 213), (256, 0.9, 284), (384, 0.9, 426), (224, 0.875, 256)],
)
def test_resize_size(size, crop_pct, expected):
    assert transforms.resize_size((size, size), crop_pct) == (expected, expected)


@pytest.mark.parametrize(
    ("image", "size", "expected"),
    [  # all (height, width)
        ((375, 500), (248, 248), (248, 330)),  # 248 * 500 / 375 = 330.67
        ((500, 375), (248, 248), (330, 248)),
        ((8, 8), (64, 64), (64, 64)),
        ((100, 200), (50, 50), (50, 100)),
        ((100, 200), (50, 150), (75, 150)),  # height 50 would leave it 100 wide
        ((100, 200), (80, 100), (80, 160)),  # width 100 would leave it 50 high
        ((1, 3), (10, 10), (10, 30)),
    ],
)
def test_resize_to_cover(image, size, expected):
    resized = transforms.resize_to_cover(Image.new("L", image[::-1]), size)
    assert (resized.height, resized.width) == expected


def test_resize_is_antialiased():
    stripes = grey([[0, 255] * 64] * 128)  # halved without antialiasing they would stay black or white
    resized = np.asarray(transforms.resize_to_cover(stripes, (32, 32)))
    assert abs(int(resized.min()) - 127) < 20 and abs(int(resized.max()) - 127) < 20


def test_resize_is_bicubic():
    # A step, doubled: new pixel centres are 1/4 off the old ones, and Pillow's cubic (a = -1/2) gives the distances
    # 1.75, .75, .25, 1.25 -> the weights -.0234375, .2265625, .8671875, -.0703125 (sum 1); clipped to 0 .. 255.
    resized = np.asarray(transforms.resize_to_cover(grey([[0, 0, 0, 0, 255, 255, 255, 255]] * 8), (16, 16)))
    inner = [0, round(255 * (0.2265625 - 0.0234375)), round(255 * (0.8671875 - 0.0703125)), 255]
    assert resized[8, 6:10].tolist() == inner


def test_center_crop_rounds_half_to_even():
    row = grey([range(30)])
    assert transforms.center_crop(row, (1, 5)).getpixel((0, 0)) == 12  # 12.5
    assert transforms.center_crop(row, (1, 3)).getpixel((0, 0)) == 14  # 13.5
    assert np.asarray(transforms.center_crop(grey(np.arange(16).reshape(4, 4)), (2, 2))).tolist() == [[5, 6], [9, 10]]


def test_elongated_images_are_cut_in_the_middle():
    row = grey([np.arange(1000) % 256])
    cut = transforms.cut_elongated(row, (10, 10))
    assert (cut.size, cut.getpixel((0, 0))) == ((64, 1), 468 % 256)
    assert transforms.cut_elongated(row, (1, 1000)).size == (1000, 1)
    assert transforms.cut_elongated(row.rotate(90, expand=True), (10, 10)).size == (1, 64)
    assert transforms.cut_elongated(grey([[1] * 64]), (10, 10)).size == (64, 1)


def test_normalize_by_hand():
    image = Image.new("RGB", (2, 1), (255, 0, 51))
    image.putpixel((1, 0), (0, 255, 102))
    mean, std = np.array([0.5, 0.25, 0.0], np.float32), np.array([0.5, 0.25, 2.0], np.float32)
    result = transforms.normalize(image, mean.reshape(3, 1, 1), std.reshape(3, 1, 1))
    assert (result.dtype, result.shape, result.flags.c_contiguous) == (np.float32, (3, 1, 2), True)
    expected = np.array([[[1, -1]], [[-1, 3]], [[0.1, 0.2]]], np.float32)
    assert np.array_equal(result, expected)


def test_normalize_takes_arrays():
    mean = std = np.full((3, 1, 1), 0.5, np.float32)
    pixels = np.asarray(noise(3, 4))
    assert np.array_equal(
        transforms.normalize(pixels, mean, std), transforms.normalize(Image.fromarray(pixels), mean, std)
    )
    one = transforms.normalize(pixels[..., :1], mean[:1], std[:1])
    assert np.array_equal(one, transforms.normalize(pixels[..., 0], mean[:1], std[:1])) and one.shape == (1, 3, 4)


def test_normalize_is_exactly_float32():
    """All 256 values in each channel, one scalar float32 operation after the other."""
    image = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2))
    result = EvalTransform(image_size=(1, 256), crop_pct=1.0, **IMAGENET)(image)
    for channel in range(3):
        mean, std = np.float32(IMAGENET["mean"][channel]), np.float32(IMAGENET["std"][channel])
        expected = [(np.float32(value) / np.float32(255) - mean) / std for value in range(256)]
        assert result[channel, 0].tolist() == [float(value) for value in expected]


def test_eval_by_hand():
    """32 x 64 with crop_pct 0.5 and target 16: already 32 on the short side, so only the middle is cut out."""
    image = noise(32, 64)
    result = EvalTransform(image_size=16, crop_pct=0.5, **HALF)(image)
    middle = np.asarray(image)[8:24, 24:40].transpose(2, 0, 1).astype(np.float32)
    assert np.array_equal(result, (middle / np.float32(255) - np.float32(0.5)) / np.float32(0.5))


def test_eval_grey_uses_luma():
    result = EvalTransform(image_size=4, crop_pct=1.0, **GREY)(Image.new("RGB", (4, 4), (255, 0, 0)))
    assert result.shape == (1, 4, 4)
    assert np.all(
        result == (np.float32(76) / np.float32(255) - np.float32(0.5)) / np.float32(0.25)
    )  # .299 * 255 = 76.2


@pytest.mark.parametrize("arguments", [HALF, GREY])
def test_eval_pixels_normalize_to_the_same(arguments):
    transform = EvalTransform(image_size=(16, 20), crop_pct=0.9, **arguments)
    pixels = transform.pixels(noise(50, 40))
    assert (pixels.dtype, pixels.shape) == (np.uint8, (16, 20, arguments["in_channels"]))
    mean, std = (np.array(arguments[name], np.float32).reshape(-1, 1, 1) for name in ("mean", "std"))
    assert np.array_equal(transforms.normalize(pixels, mean, std), transform(noise(50, 40)))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (1, 3000), (3000, 1), (2, 300), (375, 500), (8, 8)])
@pytest.mark.parametrize("target", [32, (16, 40), (40, 16)])
def test_every_size_gives_the_target(size, target):
    shape = (3, *((target, target) if isinstance(target, int) else target))
    image = Image.new("RGB", size[::-1], (255, 0, 255))
    evaluated = EvalTransform(image_size=target, crop_pct=0.9, **HALF)(image)
    assert evaluated.shape == shape and np.all(evaluated == np.array([1, -1, 1]).reshape(3, 1, 1))
    train = TrainTransform(image_size=target, **HALF, **CROP)
    for seed in range(20):
        augmented = train(image, np.random.default_rng(seed))
        assert augmented.shape == (*shape[1:], 3) and np.all(augmented == [255, 0, 255])


def test_draw_crop_by_hand():
    # area share .25 + .75 * 0 of 100 x 200 = 5000; ratio exp(log .5 + (log 2 - log .5) * .5) = 1: side 70.7 -> 71
    draws = Draws(0.0, 0.5, 29, 10)
    assert transforms.draw_crop(draws, (100, 200), (0.25, 1.0), (0.5, 2.0)) == (10, 29, 81, 100)
    # ratio 2: width sqrt(5000 * 2) = 100, height 50
    assert transforms.draw_crop(Draws(0.0, 1.0, 0, 100), (100, 200), (0.25, 1.0), (0.5, 2.0)) == (100, 0, 200, 50)


def test_draw_crop_takes_the_second_try():
    # the whole area at ratio 1 would be 141 x 141 in an image 100 high; then a quarter fits
    draws = Draws(1.0, 0.5, 0.0, 0.5, 0, 0)
    assert transforms.draw_crop(draws, (100, 200), (0.25, 1.0), (0.5, 2.0)) == (0, 0, 71, 71)


def test_draw_crop_gives_up_after_ten():
    draws = Draws(*[1.0, 0.5] * 10)
    assert transforms.draw_crop(draws, (100, 200), (0.25, 1.0), (3 / 4, 4 / 3)) == (33, 0, 166, 100)
    assert draws.values == []


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((100, 200), (33, 0, 166, 100)),  # too wide: 100 * 4 / 3 = 133 wide, (200 - 133) // 2 = 33
        ((200, 100), (0, 33, 100, 166)),  # too high: 100 / .75 = 133 high
        ((100, 110), (0, 0, 110, 100)),  # within the range: whole
        ((1, 9), (4, 0, 5, 1)),
    ],
)
def test_central_crop(size, box):
    assert transforms.central_crop(size, (3 / 4, 4 / 3)) == box


def test_crops_follow_scale_and_ratio():
    rng = np.random.default_rng(0)
    boxes = np.array([transforms.draw_crop(rng, (1000, 1000), (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(5000)])
    left, top, right, bottom = boxes.T
    assert boxes.min() == 0 and boxes.max() == 1000
    width, height = right - left, bottom - top
    area, ratio = width * height / 1e6, width / height
    assert 0.079 < area.min() < 0.09 and area.max() > 0.95
    assert 0.745 < ratio.min() < 0.76 and 1.32 < ratio.max() < 1.34
    assert abs(np.mean(np.log(ratio))) < 0.01  # log-uniform, symmetric about 1
    free = width < 900
    assert abs(np.mean(left[free] / (1000 - width[free])) - 0.5) < 0.02  # uniform places


def test_crop_and_resize_ignores_what_is_outside():
    image = grey([[0, 0, 9, 9], [0, 0, 9, 9], [255, 255, 255, 255], [255, 255, 255, 255]])
    result = transforms.crop_and_resize(image, (2, 0, 4, 2), (6, 4), BICUBIC)
    assert result.size == (4, 6) and np.all(np.asarray(result) == 9)


def test_filters_differ_and_are_drawn_evenly():
    assert transforms.draw_filter(Draws(0)) == BILINEAR and transforms.draw_filter(Draws(1)) == BICUBIC
    rng = np.random.default_rng(0)
    drawn = [transforms.draw_filter(rng) for _ in range(2000)]
    assert 900 < drawn.count(BICUBIC) < 1100


def test_flip():
    assert np.asarray(transforms.flip(grey([[1, 2, 3], [4, 5, 6]]))).tolist() == [[3, 2, 1], [6, 5, 4]]
    assert transforms.draw_flip(Draws(0.49), 0.5) and not transforms.draw_flip(Draws(0.5), 0.5)
    assert not transforms.draw_flip(Draws(0.0), 0.0) and transforms.draw_flip(Draws(0.999), 1.0)


def test_train_by_hand():
    """Box (8, 4)-(24, 20) of 32 x 32 at its own size, bilinear, flipped: a quarter of the area, ratio 1."""
    image = noise(32, 32)
    quarter = {"crop_scale": (0.25, 0.25), "crop_ratio": (1.0, 1.0), "flip_prob": 0.5}
    train = TrainTransform(image_size=16, **HALF, **quarter, **PLAIN)
    cut = np.asarray(image)[4:20, 8:24]
    pixels = train(image, Draws(0.3, 0.3, 4, 8, 0, 0.9))
    assert pixels.dtype == np.uint8 and np.array_equal(pixels, cut)
    assert np.array_equal(train(image, Draws(0.3, 0.3, 4, 8, 0, 0.1)), cut[:, ::-1])
    expected = (cut.transpose(2, 0, 1).astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    assert np.array_equal(train.normalize(pixels), expected)


def test_train_grey():
    train = TrainTransform(image_size=(8, 12), **GREY, **CROP)
    pixels = train(noise(20, 20), np.random.default_rng(0))
    assert pixels.shape == (8, 12, 1) and pixels.dtype == np.uint8
    values = train.normalize(pixels)
    assert values.shape == (1, 8, 12) and values.dtype == np.float32 and values.flags.c_contiguous
    assert values[0, 3, 5] == (np.float32(pixels[3, 5, 0]) / np.float32(255) - np.float32(0.5)) / np.float32(0.25)


@pytest.mark.parametrize(
    ("recolor", "arguments"),
    [
        (RandAugment("rand-m9-n3-mstd0.5-inc1", IMAGENET["mean"]), {"rand_augment": "rand-m9-n3-mstd0.5-inc1"}),
        (ColorJitter(0.4), {"color_jitter": 0.4}),
        # RandAugment leaves no place for colour jitter
        (RandAugment("rand-m9-n3-inc1", IMAGENET["mean"]), {"rand_augment": "rand-m9-n3-inc1", "color_jitter": 0.4}),
    ],
)
def test_train_recolors_last(recolor, arguments):
    """The same draws: crop, filter and flip first, then RandAugment or colour jitter."""
    image, flipped = noise(24, 24), {**WHOLE, "flip_prob": 1.0}
    train = TrainTransform(image_size=16, **IMAGENET, **{**flipped, **arguments})
    changed = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        plain = TrainTransform(image_size=16, **IMAGENET, **flipped)(image, rng)
        expected = np.asarray(recolor(Image.fromarray(plain), rng))
        assert np.array_equal(train(image, np.random.default_rng(seed)), expected)
        changed += not np.array_equal(plain, expected)
    assert changed > 10


@pytest.mark.parametrize("arguments", [{"rand_augment": "rand-m9-n3-mstd0.5-inc1"}, {"color_jitter": 0.4}])
def test_train_grey_after_recoloring(arguments):
    image = noise(16, 16)
    colors = TrainTransform(image_size=16, mean=(0.5,) * 3, std=(0.25,) * 3, in_channels=3, **{**WHOLE, **arguments})
    train = TrainTransform(image_size=16, **GREY, **{**WHOLE, **arguments})
    for seed in range(20):
        expected = Image.fromarray(colors(image, np.random.default_rng(seed))).convert("L")
        assert np.array_equal(train(image, np.random.default_rng(seed))[..., 0], expected)


def test_image_is_not_changed():
    image = noise(16, 16)
    before = image.tobytes()
    EvalTransform(image_size=16, crop_pct=1.0, **HALF)(image)
    for seed in range(20):
        TrainTransform(image_size=16, **HALF, **{**WHOLE, "rand_augment": "rand-m9-inc1"})(
            image, np.random.default_rng(seed)
        )
    assert image.tobytes() == before and image.mode == "RGB"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in_channels": 4}, r"in_channels must be 3 \(RGB\) or 1 \(grey\).*got 4"),
        ({"in_channels": 1}, r"mean must have one finite value for each of 1 channels, got \[0.5, 0.5, 0.5\]"),
        ({"mean": (0.5,)}, "mean must have one finite value for each of 3"),
        ({"std": (0.5, 0.5)}, "std must have one finite value for each of 3"),
        ({"std": (0.5, 0.0, 0.5)}, "std must be positive"),
        ({"mean": (0.5, math.nan, 0.5)}, "mean must have one finite value"),
        ({"image_size": 0}, "image_size must be a positive integer or two.*got 0"),
        ({"image_size": (32, 32, 3)}, "image_size must be"),
        ({"image_size": (32, 0.5)}, "image_size must be"),
    ],
)
def test_wrong_arguments_of_both(change, message):
    arguments = {"image_size": 32, **HALF, **change}
    with pytest.raises(UserError, match=message):
        EvalTransform(**arguments, crop_pct=0.9)
    with pytest.raises(UserError, match=message):
        TrainTransform(**arguments, **CROP)


@pytest.mark.parametrize("crop_pct", [0.0, -0.5, 1.1, 90, math.nan])
def test_wrong_crop_pct(crop_pct):
    with pytest.raises(UserError, match="crop_pct must be above 0 and at most 1"):
        EvalTransform(image_size=32, **HALF, crop_pct=crop_pct)


@pytest.mark.parametrize(
    "change",
    [
        {"crop_scale": (0.0, 1.0)},
        {"crop_scale": (0.5, 0.1)},
        {"crop_scale": (0.5, 1.5)},
        {"crop_scale": (0.5,)},
        {"crop_ratio": (0.0, 1.0)},
        {"crop_ratio": (2.0, 1.0)},
        {"crop_ratio": (1.0, math.inf)},
        {"flip_prob": -0.1},
        {"flip_prob": 50},
        {"color_jitter": -0.1},
        {"color_jitter": math.nan},
    ],
)
def test_wrong_augmentation(change):
    with pytest.raises(UserError, match=f"{next(iter(change))} must be"):
        TrainTransform(image_size=32, **HALF, **{**CROP, **change})


def test_wrong_policy():
    with pytest.raises(UserError, match="rand_augment 'rand-m9' is not complete"):
        TrainTransform(image_size=32, **HALF, **{**CROP, "rand_augment": "rand-m9"})
