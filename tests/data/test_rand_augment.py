"""RandAugment: every operation against pixels by hand, and what is drawn over 10,000 images."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from src.data import rand_augment
from src.data.rand_augment import OPERATIONS, RandAugment, Step, parse_policy
from src.errors import UserError

BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
POLICY = "rand-m9-mstd0.5-inc1"
FILL = (7, 8, 9)


def apply(name, magnitude, rows, sign=1, resampling=BILINEAR):
    """The red channel of an operation on a grey image of these rows."""
    image = Image.fromarray(np.array(rows, np.uint8)).convert("RGB")
    return np.asarray(rand_augment.apply(Step(name, magnitude, sign, resampling), image, FILL))[..., 0].tolist()


def noise(height, width, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_auto_contrast():
    assert apply("AutoContrast", 9, [[50, 100, 150]]) == [[0, 127, 255]]  # times 2.55, cut
    assert apply("AutoContrast", 9, [[50, 50]]) == [[50, 50]]


def test_equalize():
    # 510 + 255 + 255 pixels: steps of (1020 - 255) // 255 = 3 from 1 on: 1 // 3, 511 // 3, 766 // 3
    rows = [[10] * 510 + [100] * 255 + [200] * 255]
    assert apply("Equalize", 9, rows) == [[0] * 510 + [170] * 255 + [255] * 255]


def test_invert():
    assert apply("Invert", 9, [[0, 1, 254, 255]]) == [[255, 254, 1, 0]]
    assert np.array_equal(
        ImageOps.invert(noise(9, 9)), rand_augment.apply(Step("Invert", 9, 1, BICUBIC), noise(9, 9), FILL)
    )


@pytest.mark.parametrize(
    ("magnitude", "bits", "result"),
    [  # 4 - int(0.4 * magnitude) bits of 55 = 0b00110111 and 255
        (0, 4, [48, 240]),
        (2.4, 4, [48, 240]),
        (2.5, 3, [32, 224]),
        (7.4, 2, [0, 192]),
        (9, 1, [0, 128]),
        (9.9, 1, [0, 128]),
        (10, 0, [0, 0]),
    ],
)
def test_posterize(magnitude, bits, result):
    assert apply("PosterizeIncreasing", magnitude, [[55, 255]]) == [result]
    if bits:
        step = Step("PosterizeIncreasing", magnitude, 1, BICUBIC)
        assert np.array_equal(ImageOps.posterize(noise(9, 9), bits), rand_augment.apply(step, noise(9, 9), FILL))


@pytest.mark.parametrize(
    ("magnitude", "result"),
    [  # from 256 - int(25.6 * magnitude) on
        (0, [0, 25, 26, 127, 255]),
        (5, [0, 25, 26, 127, 0]),
        (9, [0, 25, 229, 128, 0]),
        (10, [255, 230, 229, 128, 0]),
    ],
)
def test_solarize(magnitude, result):
    assert apply("SolarizeIncreasing", magnitude, [[0, 25, 26, 127, 255]]) == [result]


@pytest.mark.parametrize(("magnitude", "addend"), [(0, 0), (9, 99), (9.5, 104), (10, 110)])
def test_solarize_add(magnitude, addend):
    assert apply("SolarizeAdd", magnitude, [[0, 127, 128, 255]]) == [[addend, 127 + addend, 128, 255]]


@pytest.mark.parametrize(
    ("name", "magnitude", "sign", "result"),
    [
        ("BrightnessIncreasing", 10, -1, [10, 20]),  # 0.1 of 101 and 205
        ("BrightnessIncreasing", 10, 1, [191, 255]),  # 1.9
        ("BrightnessIncreasing", 5, -1, [55, 112]),  # 0.55
        ("ContrastIncreasing", 10, -1, [147, 158]),  # mean 153: 153 + 0.1 * (-52, 52)
        ("ContrastIncreasing", 10, 1, [54, 251]),  # 153 + 1.9 * (-52, 52)
        ("ContrastIncreasing", 0, 1, [101, 205]),
    ],
)
def test_brightness_and_contrast(name, magnitude, sign, result):
    assert apply(name, magnitude, [[101, 205]], sign) == [result]


@pytest.mark.parametrize(("sign", "result"), [(1, (255, 0, 0)), (-1, (110, 61, 61))])
def test_color(sign, result):
    # red has luma 76: 76 + 1.81 * (179, -76) or 76 + 0.19 * (179, -76)
    image = Image.new("RGB", (1, 1), (255, 0, 0))
    assert rand_augment.apply(Step("ColorIncreasing", 9, sign, BICUBIC), image, FILL).getpixel((0, 0)) == result


@pytest.mark.parametrize(("sign", "result"), [(1, 203), (-1, 58)])
def test_sharpness(sign, result):
    # smoothed: 5 / 13 of 131 = 50 and the borders as they are; 50 + 81 * 1.9 or 50 + 81 * 0.1
    rows = [[0, 0, 0], [0, 131, 0], [0, 0, 0]]
    assert apply("SharpnessIncreasing", 10, rows, sign) == [[0, 0, 0], [0, result, 0], [0, 0, 0]]


def test_translate():
    """By 4.5 of 10 pixels: a positive sign takes from the right or from below."""
    ramp = list(range(0, 200, 20))
    right, left = [90, 110, 130, 150, 170, 7, 7, 7, 7, 7], [7, 7, 7, 7, 0, 10, 30, 50, 70, 90]
    assert apply("TranslateXRel", 10, [ramp] * 2) == [right] * 2
    assert apply("TranslateXRel", 10, [ramp] * 2, sign=-1) == [left] * 2
    column = np.array([ramp] * 2).T
    assert apply("TranslateYRel", 10, column) == np.array([right] * 2).T.tolist()
    assert apply("TranslateYRel", 10, column, sign=-1) == np.array([left] * 2).T.tolist()
    # By 0.45 * 0.8 = 0.36 of 5 pixels: 1.8 pixels, not a whole number
    assert apply("TranslateXRel", 8, [[0, 50, 100, 150, 200]])[0][:3] == [90, 140, 190]


def test_filter():
    """Half way between two pixels, Pillow's bicubic has the weights -1/8, 5/8, 5/8, -1/8."""
    rows = [[40] * 6 + [140] * 4] * 4
    assert apply("TranslateXRel", 10, rows)[0][:4] == [40, 90, 140, 140]
    assert apply("TranslateXRel", 10, rows, resampling=BICUBIC)[0][:4] == [27, 90, 152, 140]


def test_shear():
    """Row y (its middle: y + 1/2) moves by 0.3 of that; a ramp of 30 a pixel grows by 4.5 + 9 y, cut."""
    ramp = [30 * x for x in range(8)]
    sheared = [[30 * x + int(4.5 + 9 * y) for x in range(4)] for y in range(8)]
    assert [row[:4] for row in apply("ShearX", 10, [ramp] * 8)] == sheared
    column = np.array([ramp] * 8).T
    assert np.array(apply("ShearY", 10, column))[:4].T.tolist() == sheared
    # The other way, row 7 moves by 2.25 pixels: pixels 0 and 1 come from outside, 2 from the edge, 3 from 0.75.
    assert apply("ShearX", 10, [ramp] * 8, sign=-1)[7][:4] == [7, 7, 0, 22]


def test_rotate():
    """By 30 degrees, positive against the clock: a bright pixel right of the middle goes up."""
    rows = np.zeros((41, 41))
    rows[19:22, 34:37] = 255  # its middle is 15 right of the image's
    for sign, y in ((1, 20 - 7.5), (-1, 20 + 7.5)):  # 15 * (cos, sin) of 30 degrees: 13 right, 7.5 up or down
        result = np.array(apply("Rotate", 10, rows, sign))
        spot = np.argwhere(result > 100)
        assert abs(spot.mean(axis=0) - [y, 20 + 12.99]).max() < 0.3
        assert result[0, 0] == 7 and result[20, 20] == 0
    result = np.array(apply("Rotate", 5, rows))  # 15 degrees: 14.49 right, 3.88 up
    assert abs(np.argwhere(result > 100).mean(axis=0) - [20 - 3.88, 20 + 14.49]).max() < 0.3


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_keeps_size_and_input(name):
    image = noise(17, 23)
    before = image.tobytes()
    for sign in (1, -1):
        for resampling in (BILINEAR, BICUBIC):
            result = rand_augment.apply(Step(name, 9.3, sign, resampling), image, FILL)
            assert (result.mode, result.size) == ("RGB", image.size) and result.tobytes() != before
    assert image.tobytes() == before


def test_unknown_operation():
    with pytest.raises(ValueError, match="unknown operation 'Posterize': expected one of AutoContrast, "):
        rand_augment.apply(Step("Posterize", 9, 1, BILINEAR), noise(2, 2), FILL)


@pytest.fixture(scope="module")
def drawn():
    transform, rng = RandAugment(POLICY, (0.5,) * 3), np.random.default_rng(0)
    return [transform.draw(rng) for _ in range(10000)]


def near(count, number, probability):
    """Whether a binomial count is within four standard deviations."""
    return abs(count - number * probability) < 4 * (number * probability * (1 - probability)) ** 0.5


def test_drawn_operations(drawn):
    assert len(OPERATIONS) == len(set(OPERATIONS)) == 15
    for number, probability in ((0, 0.25), (1, 0.5), (2, 0.25)):
        assert near(sum(len(steps) == number for steps in drawn), 10000, probability)
    names = [step.name for steps in drawn for step in steps]
    assert all(near(names.count(name), 20000, 1 / 30) for name in OPERATIONS)
    pairs = [(steps[0].name, steps[1].name) for steps in drawn if len(steps) == 2]
    assert near(sum(first == second for first, second in pairs), len(pairs), 1 / 15)  # with replacement


def test_drawn_magnitudes(drawn):
    magnitudes = np.array([step.magnitude for steps in drawn for step in steps])
    assert magnitudes.max() == 10
    assert near(np.sum(magnitudes == 10), len(magnitudes), 0.02275)  # beyond two standard deviations
    assert near(np.sum(magnitudes < 9), len(magnitudes), 0.5)
    assert near(np.sum(magnitudes < 8.5), len(magnitudes), 0.15866)
    assert near(np.sum(magnitudes < 8), len(magnitudes), 0.02275)
    one_bit_or_none = np.sum(magnitudes >= 7.5)
    assert near(one_bit_or_none, len(magnitudes), 0.99865)


def test_drawn_signs_and_filters(drawn):
    steps = [step for steps in drawn for step in steps]
    assert {step.sign for step in steps} == {1, -1}
    assert near(sum(step.sign == 1 for step in steps), len(steps), 0.5)
    assert near(sum(step.resampling == BICUBIC for step in steps), len(steps), 0.5)
    assert {step.resampling for step in steps} == {BILINEAR, BICUBIC}
    both = sum(step.sign == 1 and step.resampling == BICUBIC for step in steps)
    assert near(both, len(steps), 0.25)


def test_magnitudes_are_clipped_at_both_ends():
    rng = np.random.default_rng(0)
    steps = [step for _ in range(200) for step in RandAugment("rand-m5-mstd100-inc1", (0.5,) * 3).draw(rng)]
    magnitudes = [step.magnitude for step in steps]
    assert (min(magnitudes), max(magnitudes)) == (0, 10)


def test_call_applies_what_is_drawn():
    image, transform = noise(16, 16), RandAugment("rand-m9-n3-mstd0.5-inc1", (0.485, 0.456, 0.406))
    for seed in range(30):
        expected = image
        for step in transform.draw(np.random.default_rng(seed)):
            expected = rand_augment.apply(step, expected, (124, 116, 104))  # 123.7, 116.3, 103.5
        assert np.array_equal(transform(image, np.random.default_rng(seed)), expected)


@pytest.mark.parametrize(("mean", "fill"), [((0.485, 0.456, 0.406), (124, 116, 104)), ((0.5, 0, 1), (128, 0, 255))])
def test_fill_is_the_mean(mean, fill):
    transform = RandAugment("rand-m9-n1-inc1", mean)
    for seed in range(1000):
        steps = transform.draw(np.random.default_rng(seed))
        if steps and (steps[0].name, steps[0].sign) == ("TranslateXRel", 1):
            break
    result = transform(noise(16, 16), np.random.default_rng(seed))
    assert result.getpixel((15, 8)) == fill


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (POLICY, (9, 2, 0.5)),
        ("rand-m10-inc1", (10, 2, 0.0)),
        ("rand-inc1-n3-m0-mstd1", (0, 3, 1.0)),
    ],
)
def test_policy(policy, expected):
    assert parse_policy(policy) == expected
    transform = RandAugment(policy, (0.5,) * 3)
    assert (transform.magnitude, transform.num_operations, transform.magnitude_std) == expected


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ("rand-m9-mstd0.5-inc0", "the section 'inc0'"),
        ("rand-m9-mstd0.5", "not complete"),
        ("rand-mstd0.5-inc1", "not complete"),
        ("rand", "not complete"),
        ("", "not complete"),
        ("augmix-m9-inc1", "not complete"),
        ("rand-m11-inc1", "out of range"),
        ("rand-m9-n0-inc1", "out of range"),
        ("rand-m9.5-inc1", "the section 'm9.5'"),
        ("rand-m9-m9-inc1", "the section 'm9'"),
        ("rand-m9-w0-inc1", "the section 'w0'"),
        ("rand-m9-mstd-inc1", "the section 'mstd'"),
        ("rand-m9-mstd0.5.5-inc1", "the section 'mstd0.5.5'"),
        ("rand-m9--inc1", "the section ''"),
        ("rand-m-9-inc1", "the section 'm'"),
    ],
)
def test_wrong_policies(policy, problem):
    with pytest.raises(
        UserError, match=f"rand_augment '{policy}' .*{problem}.*expected 'rand-m<.*for example 'rand-m9-"
    ):
        RandAugment(policy, (0.5,) * 3)
