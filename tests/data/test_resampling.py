"""Resizing and affine operations: the same bits as Pillow's, with the compiled library and without it."""

import numpy as np
import PIL
import pytest
from PIL import Image

from src.data import box_transforms, rand_augment, resampling
from src.data.box_transforms import resize_image
from src.data.rand_augment import Step
from src.data.resampling import BICUBIC, BILINEAR, resize, rotate, transform
from src.files.compiled_library import SWITCH, find_compiler
from tests.unusable_cache import no_folder

FILL = (7, 130, 254)
FILTERS = (BILINEAR, BICUBIC)
AFFINE = Image.Transform.AFFINE


@pytest.fixture
def has_library():
    if (line := resampling.shortcoming()) is not None:
        assert "computes otherwise" not in line
        pytest.skip(line)


@pytest.fixture
def another_library(monkeypatch):
    """A library is looked for anew in the test, and after it."""
    monkeypatch.delenv(SWITCH, raising=False)
    resampling.library.cache_clear()
    yield
    monkeypatch.undo()
    resampling.library.cache_clear()


@pytest.fixture
def no_pillow(monkeypatch, has_library):
    """Whatever would be left to Pillow fails."""

    def refuse(*_, **__):
        raise AssertionError("left to Pillow")

    def begin():
        for name in ("resize", "crop", "transform", "rotate"):
            monkeypatch.setattr(Image.Image, name, refuse)

    return begin


def noise(width, height, mode="RGB", seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if seed % 3 == 0:
        pixels = pixels // 255 * 255  # nothing but the ends of the range
    return Image.fromarray(pixels).convert(mode).copy()  # one of an array is read-only


def drawn_resizes(count, largest, largest_new):
    for seed in range(count):
        rng = np.random.default_rng(seed)
        width, height = (int(side) for side in rng.integers(1, largest + 1, 2))
        left, top = int(rng.integers(width)), int(rng.integers(height))
        box = (left, top, int(rng.integers(left, width)) + 1, int(rng.integers(top, height)) + 1)
        new_width, new_height = (int(side) for side in rng.integers(1, largest_new + 1, 2))
        if seed % 7 == 0:
            new_width = box[2] - box[0]
        if seed % 5 == 0:
            new_height = box[3] - box[1]
        if box[3] - box[1] > resampling.ELONGATED * (box[2] - box[0]):
            continue
        image = noise(width, height, ("RGB", "L")[seed // 2 % 2], seed)
        yield image, (new_width, new_height), FILTERS[seed % 2], box


def drawn_matrices(count, largest):
    for seed in range(count):
        rng = np.random.default_rng(seed)
        width, height = (int(side) for side in rng.integers(1, largest + 1, 2))
        a, b, c, d, e, f = rng.normal(size=6) * [1, 1, width, 1, 1, height]
        matrix = [
            (a, b, c, d, e, f),
            (1, b / 3, 0, 0, 1, 0),
            (1, 0, 0, b / 3, 1, 0),
            (1, 0, c / 3, 0, 1, 0),
            (1, 0, 0, 0, 1, f / 3),
            (1, b / 3, round(c), 0, 1, round(f / 3)),
            (1, 0, round(c / 3), 0, 1, round(f / 3)),
            (1, 0, round(c) / 2, 0, 1, round(f) / 2),
            (a / 99, 0, width / 2, 0, e * 99, 0),
        ][seed // 2 % 9]
        yield noise(width, height, seed=seed), matrix, FILTERS[seed % 2]


@pytest.mark.parametrize(
    ("count", "largest", "largest_new"), [(300, 40, 60), (100, 6, 8), (60, 300, 60), (60, 30, 300), (20, 500, 224)]
)
def test_resize_of_any_size_and_box(count, largest, largest_new, no_pillow):
    cases = list(drawn_resizes(count, largest, largest_new))
    expected = [image.crop(box).resize(size, filter_) for image, size, filter_, box in cases]
    no_pillow()
    for (image, size, filter_, box), right in zip(cases, expected, strict=True):
        result = resize(image, size, filter_, box)
        assert (result.mode, result.size) == (right.mode, right.size)
        assert result.tobytes() == right.tobytes(), (image.mode, image.size, size, filter_, box)


@pytest.mark.parametrize("filter_", FILTERS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        *[((1, 1), (1, 1)), ((1, 1), (9, 7)), ((9, 7), (1, 1)), ((4000, 3), (3, 5)), ((30, 3000), (7, 3))],
        *[((500, 375), (330, 248)), ((375, 500), (248, 330)), ((64, 64), (64, 64)), ((17, 64), (16, 31))],
    ],
)
def test_resize_of_whole_images(mode, old, new, filter_, no_pillow):
    image = noise(*old, mode)
    expected = image.resize(new, filter_).tobytes()
    no_pillow()
    result = resize(image, new, filter_)
    assert result.tobytes() == expected and result is not image


@pytest.mark.parametrize(("count", "largest"), [(400, 40), (100, 4), (18, 300)])
def test_any_matrix(count, largest, no_pillow):
    cases = list(drawn_matrices(count, largest))
    expected = [image.transform(image.size, AFFINE, m, filter_, fillcolor=FILL) for image, m, filter_ in cases]
    no_pillow()
    for (image, matrix, filter_), right in zip(cases, expected, strict=True):
        result = transform(image, matrix, filter_, FILL)
        assert result.tobytes() == right.tobytes(), (image.size, matrix, filter_)


def test_places_next_to_whole_ones(no_pillow):
    """Fractions so near to 0 or 1 that rounding decides to which pixel a place belongs."""
    image, cases = noise(40, 30, seed=1), []
    for offset in (0.5, 1.0, 3.0, 7.5, 15.5, 16.0):
        for near in (np.nextafter(offset, -np.inf), offset, np.nextafter(offset, np.inf)):
            cases += [((1, 0, near, 0, 1, 0), BILINEAR), ((1, 1e-17, -near, 1e-16, 1, near), BICUBIC)]
    expected = [image.transform(image.size, AFFINE, m, filter_, fillcolor=FILL).tobytes() for m, filter_ in cases]
    no_pillow()
    for (matrix, filter_), right in zip(cases, expected, strict=True):
        assert transform(image, matrix, filter_, FILL).tobytes() == right, matrix


def test_rotate(no_pillow):
    rng = np.random.default_rng(0)
    images = [noise(31, 24, seed=1), noise(24, 24, seed=2), noise(1, 5, seed=4)]
    cases = [(image, angle, FILTERS[i % 2]) for image in images for i, angle in enumerate(rng.uniform(-400, 400, 30))]
    expected = [image.rotate(angle, filter_, fillcolor=FILL).tobytes() for image, angle, filter_ in cases]
    no_pillow()
    for (image, angle, filter_), right in zip(cases, expected, strict=True):
        assert rotate(image, angle, filter_, FILL).tobytes() == right, (image.size, angle)


@pytest.mark.parametrize("angle", [0, -0.0, 90, 180, -90, 270, 360, 720, 1e-20])
def test_rotations_that_move_whole_pixels(angle):
    for image in (noise(24, 24), noise(31, 24)):
        expected = image.rotate(angle, BILINEAR, fillcolor=FILL)
        assert rotate(image, angle, BILINEAR, FILL).tobytes() == expected.tobytes()


def test_augmentation_does_without_pillow(no_pillow):
    image = noise(32, 24, seed=1)
    no_pillow()
    for name in ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"):
        assert rand_augment.apply(Step(name, 9.3, 1, BICUBIC), image, FILL).size == image.size


def test_what_a_file_said_of_an_image_stays():
    image = noise(9, 9)
    image.info["dpi"] = (72, 72)
    for result in (resize(image, (5, 4), BILINEAR), transform(image, (1, 0.2, 0, 0, 1, 0), BILINEAR, FILL)):
        assert result.info == image.info and result.info is not image.info


def test_images_that_are_left_to_pillow(tmp_path):
    """Other modes and filters, images that lie in files, in several pieces, in none; boxes beyond the border."""
    noise(33, 20, "L").save(tmp_path / "a.pgm")
    noise(33, 20, "L").save(tmp_path / "a.bmp")
    images = [noise(33, 20, mode) for mode in ("RGBA", "CMYK", "I", "F", "P")]
    images += [Image.open(tmp_path / "a.pgm"), Image.open(tmp_path / "a.bmp"), Image.new("RGB", (3000, 2000), "red")]
    images += [Image.new("L", (1, 40_000), 3), Image.frombuffer("L", (9, 9), bytes(81), "raw", "L", 0, -1)]
    for image in images:
        assert resize(image, (9, 7), BICUBIC).tobytes() == image.resize((9, 7), BICUBIC).tobytes()
    image = noise(33, 20)
    for filter_ in (Image.Resampling.NEAREST, Image.Resampling.LANCZOS, Image.Resampling.BOX):
        assert resize(image, (9, 7), filter_).tobytes() == image.resize((9, 7), filter_).tobytes()
    for box in ((-3, 0, 20, 20), (0, 5, 34, 20)):
        expected = image.crop(box).resize((9, 7), BILINEAR).tobytes()
        assert resize(image, (9, 7), BILINEAR, box).tobytes() == expected
    grey = noise(33, 20, "L")
    matrix = (0.9, 0.1, 3, 0, 1, 0)
    expected = grey.transform(grey.size, AFFINE, matrix, BILINEAR, fillcolor=7).tobytes()
    assert transform(grey, matrix, BILINEAR, 7).tobytes() == expected


@pytest.mark.parametrize("factor", [np.nan, np.inf, -np.inf, 1e300, -1e9, 2.0**31, 2.0**63])
def test_places_that_are_nowhere_are_outside(factor, no_pillow):
    no_pillow()
    for place in range(6):
        matrix = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        matrix[place] = factor
        assert transform(noise(9, 7), matrix, BICUBIC, FILL).getcolors() == [(63, FILL)]


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_empty_sizes_are_errors_as_they_are_of_pillow(size):
    with pytest.raises(ValueError):
        resize(noise(9, 7), size, BILINEAR)


@pytest.mark.parametrize(
    ("old", "new"), [((48, 57), (37, 61)), ((30, 20), (90, 33)), ((1, 1), (4, 3)), ((9, 7), (1, 1))]
)
def test_a_detectors_images(old, new, has_library, monkeypatch):
    pixels = np.asarray(noise(*old[::-1], seed=1))
    views = [pixels, pixels[:, ::-1], np.asfortranarray(pixels), np.repeat(pixels, 2, axis=0)[::2]]
    with monkeypatch.context() as patch:
        patch.setattr(box_transforms, "interpolate", lambda *_: None)
        expected = [resize_image(view, new) for view in views]
    monkeypatch.setattr(box_transforms, "_interpolate", None)
    for view, right in zip(views, expected, strict=True):
        assert np.array_equal(resize_image(view, new), right)


def test_look_up(has_library):
    pixels, tables = np.asarray(noise(9, 7, seed=1)), np.random.default_rng(0).random((3, 256), np.float32)
    for view in (pixels, pixels[:, ::-1], pixels[::-1, ::2], pixels[:0]):
        height, width, _ = view.shape
        result = np.full((3, 8, 12), -1, np.float32)
        assert resampling.look_up(view, tables, result[:, :, 2:])
        expected = np.stack([table[view[..., channel]] for channel, table in enumerate(tables)])
        assert np.array_equal(result[:, :height, 2 : 2 + width], expected)
        result[:, :height, 2 : 2 + width] = -1
        assert np.all(result == -1)
    wrong = np.full((3, 8, 12), -1, np.float32)
    for view, result in (
        (pixels[:, :, :1], wrong),
        (pixels[:, :, ::-1], wrong),
        (pixels.astype(np.int16), wrong),
        (pixels, wrong[:, :6]),
        (pixels, wrong[:, :, :8]),
        (pixels, wrong.astype(np.float64)),
        (pixels, wrong[:, :, ::-1]),
        (pixels, np.broadcast_to(wrong[:1], wrong.shape)),
    ):
        assert not resampling.look_up(view, tables, result)
    assert np.all(wrong == -1)


def test_a_detectors_input_is_the_same_without_a_library(has_library, monkeypatch, another_library):
    settings = {"canvas": (32, 48), "short_sides": (32,), "flip_prob": 0.5, "mean": (0.5, 0.4, 0.3), "std": (0.2,) * 3}
    place, image, boxes = box_transforms.DetectionTransform(**settings), noise(57, 48, seed=1), np.zeros((0, 4))
    own = [place(image, boxes, np.random.default_rng(seed)) for seed in range(4)]
    assert {placed.is_flipped for placed in own} == {True, False}
    monkeypatch.setenv(SWITCH, "0")
    resampling.library.cache_clear()
    for seed, placed in enumerate(own):
        assert np.array_equal(place(image, boxes, np.random.default_rng(seed)).values, placed.values)


def _switched_off(monkeypatch, folder):
    monkeypatch.setenv(SWITCH, "0")


def _no_compiler(monkeypatch, folder):
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CXX", raising=False)


def _older_pillow(monkeypatch, folder):
    monkeypatch.delattr(Image.Image, "__arrow_c_array__", raising=False)


def _other_pillow(monkeypatch, folder):
    """Its filters mean something else."""
    original = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda self, size, *_: original(self, size, Image.Resampling.LANCZOS))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_switched_off, f"{SWITCH} is 0"),
        (_no_compiler, "there is no C++ compiler; install g++"),
        (no_folder, "made no library of resampling.cc: "),
        (_older_pillow, f"Pillow {PIL.__version__} does not tell where it holds pixels"),
        (_other_pillow, f"Pillow {PIL.__version__} holds pixels or computes otherwise"),
    ],
)
def test_without_a_library(change, reason, tmp_path, monkeypatch, another_library):
    if change is not _older_pillow and not hasattr(Image.Image, "__arrow_c_array__"):
        pytest.skip("that is another reason")
    if change is _other_pillow and find_compiler() is None:
        pytest.skip("no compiler")
    change(monkeypatch, tmp_path)
    assert reason in resampling.shortcoming() and "\n" not in resampling.shortcoming()
    image, matrix = noise(33, 20), (0.9, 0.1, 3, -0.1, 1.1, 2)
    box = (3, 2, 30, 19)
    assert resize(image, (9, 7), BICUBIC, box).tobytes() == image.crop(box).resize((9, 7), BICUBIC).tobytes()
    expected = image.transform(image.size, AFFINE, matrix, BICUBIC, fillcolor=FILL)
    assert transform(image, matrix, BICUBIC, FILL).tobytes() == expected.tobytes()
    assert rotate(image, 20, BICUBIC, FILL).tobytes() == image.rotate(20, BICUBIC, fillcolor=FILL).tobytes()
    assert resize_image(np.asarray(image), (9, 7)).shape == (9, 7, 3)


def test_the_order_of_the_directions_is_found_out(has_library, monkeypatch, another_library):
    """A Pillow that always takes rows first, as before 13: in these cases the order can be seen."""
    original = Image.Image.resize

    def rows_first(image, size, filter_):
        return original(original(image, (size[0], image.height), filter_), size, filter_)

    monkeypatch.setattr(Image.Image, "resize", rows_first)
    assert resampling.library().is_columns_first is resampling._never
    for image, size, filter_, _ in drawn_resizes(60, 60, 60):
        assert resize(image, size, filter_).tobytes() == rows_first(image, size, filter_).tobytes()
