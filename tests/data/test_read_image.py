"""Every kind of pixel becomes RGB, and every broken file an error that names it."""

import warnings

import numpy as np
import pytest
from PIL import Image

from src.data.read_image import image_endings, read_image
from src.errors import UserError


def stored(image, path, **options):
    image.save(path, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = read_image(path)
    assert result.mode == "RGB"
    return result


def test_rgb_is_unchanged(tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert np.array_equal(np.asarray(stored(Image.fromarray(pixels), tmp_path / "a.png")), pixels)


def test_grey_gets_three_channels(tmp_path):
    assert stored(Image.new("L", (3, 2), 77), tmp_path / "a.png").getpixel((2, 1)) == (77, 77, 77)


def test_one_bit(tmp_path):
    assert stored(Image.new("1", (3, 2), 1), tmp_path / "a.png").getpixel((2, 1)) == (255, 255, 255)


@pytest.mark.parametrize(("mode", "value", "rgb"), [("RGBA", (9, 8, 7, 0), (9, 8, 7)), ("LA", (60, 0), (60, 60, 60))])
def test_alpha_is_dropped(tmp_path, mode, value, rgb):
    assert stored(Image.new(mode, (3, 2), value), tmp_path / "a.png").getpixel((0, 0)) == rgb


@pytest.mark.parametrize("transparency", [None, 0, b"\x00\x80"])
def test_palette(tmp_path, transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    options = {} if transparency is None else {"transparency": transparency}
    result = stored(image, tmp_path / "a.png", **options)
    assert (result.getpixel((0, 0)), result.getpixel((1, 0))) == ((10, 20, 30), (40, 50, 60))


def test_cmyk(tmp_path):
    # no cyan, all magenta and yellow, no black: red
    assert stored(Image.new("CMYK", (3, 2), (0, 255, 255, 0)), tmp_path / "a.tif").getpixel((0, 0)) == (255, 0, 0)
    red, green, blue = stored(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "a.jpg").getpixel((0, 0))
    assert red > 250 and green < 5 and blue < 5


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_keeps_the_high_byte(tmp_path, name):
    pixels = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    result = stored(Image.fromarray(pixels), tmp_path / name)
    assert np.asarray(result)[0, :, 1].tolist() == [0, 0, 1, 128, 255]


def test_32_bit_pixels(tmp_path):
    result = stored(Image.fromarray(np.array([[512, 65535]], np.int32)), tmp_path / "a.tif")
    assert np.asarray(result)[0, :, 0].tolist() == [2, 255]
    Image.fromarray(np.array([[0, 65536]], np.int32)).save(tmp_path / "large.tif")
    with pytest.raises(UserError, match=r"large\.tif.*from 0 to 65536, expected 16 bits"):
        read_image(tmp_path / "large.tif")
    Image.fromarray(np.array([[0, 0.5]], np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(UserError, match=r"float\.tif.*floating-point"):
        read_image(tmp_path / "float.tif")


def test_exif_orientation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a viewer turns the image by 90 degrees
    assert stored(Image.new("RGB", (16, 8)), tmp_path / "a.jpg", exif=exif).size == (16, 8)


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    result = stored(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert result.getpixel((0, 0)) == (255, 0, 0)


def test_broken_files(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for ending in ("jpg", "png", "webp", "gif", "tif"):
        noise.save(tmp_path / f"whole.{ending}")
        whole = (tmp_path / f"whole.{ending}").read_bytes()
        (tmp_path / f"half.{ending}").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match=rf"cannot read image .*half\.{ending} "):
            read_image(tmp_path / f"half.{ending}")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    for name in ("empty.jpg", "text.jpg", "link.jpg", "missing.jpg"):
        with pytest.raises(UserError, match=rf"cannot read image .*{name} .*remove it"):
            read_image(tmp_path / name)


def test_endings():
    endings = image_endings()
    assert {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".jp2", ".mpo"} <= endings
    assert not {".pdf", ".palm", ".h5", ".mpg", ".txt", ""} & endings
