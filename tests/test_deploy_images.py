"""Images that the scripts in deploy/ are given: the same pixels, refusals and warnings as in the project itself."""

import importlib
import importlib.util
import os
import socket
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.box_transforms import DetectionTransform
from src.data.read_image import FORMATS, read_image
from src.data.transforms import EvalTransform
from src.errors import ImageWarning, UserError

ROOT = Path(__file__).resolve().parents[1]
MODEL = {"image_size": (32, 48), "crop_pct": 0.9, "in_channels": 3}


@pytest.fixture(scope="module", params=["run_onnx", "run_mindir"])
def script(request):
    specification = importlib.util.spec_from_file_location(request.param, ROOT / "deploy" / f"{request.param}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def save(pixels: np.ndarray, name: str) -> None:
    Image.fromarray(pixels).save(name)


def save_rgb_16(name: str, brightest: int) -> None:
    """A PNG with 16 bits a channel, which Pillow reads but does not write."""
    pixels = np.zeros((40, 50, 3), ">u2")
    pixels[3, 4, 1] = brightest
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunks = [(b"IHDR", struct.pack(">2I5B", 50, 40, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    Path(name).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def ramp(low: float, high: float, kind: type) -> np.ndarray:
    return np.linspace(low, high, 2000).reshape(40, 50).astype(kind)


REFUSED = {
    "float.tif": lambda name: save(ramp(0, 1, np.float32), name),
    "large.tif": lambda name: save(ramp(0, 65536, np.int32), name),
    "negative.tif": lambda name: save(ramp(-1, 100, np.int32), name),
    "text.png": lambda name: Path(name).write_text("text"),
    "empty.jpg": lambda name: Path(name).touch(),
    "postscript.png": lambda name: Path(name).write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n"),
    "eps.png": lambda name: Image.new("RGB", (4, 4)).save(name, "EPS"),
    "folder.png": lambda name: Path(name).mkdir(),
    "pipe.png": lambda name: os.mkfifo(name),
    "socket.png": lambda name: socket.socket(socket.AF_UNIX).bind(name),
    "loop.png": lambda name: os.symlink(name, name),
    "missing.png": lambda name: None,
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, script):
    REFUSED[name](name)
    with pytest.raises(UserError) as ours:
        read_image(name)
    with pytest.raises(ValueError) as theirs:
        script.read_pixels(name, MODEL)
    assert str(ours.value) == f"{theirs.value}; replace it by a readable image or remove it"
    assert name in str(ours.value) and str(ours.value).isprintable()


def test_too_large(script, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    Image.new("L", (101, 1)).save("a.png")
    with pytest.raises(UserError, match=r"^image a\.png is too large: 101 pixels, at most 100 are read; scale it down"):
        read_image("a.png")
    with pytest.raises(ValueError, match=r"^image a\.png is too large: scale it down .*101 pixels.* 100 "):
        script.read_pixels("a.png", MODEL)


ELONGATED = [(5, width) for width in range(483, 489)] + [(height, 5) for height in range(210, 216)]
"""Height and width around what is cut: for MODEL 64 times as long as needed is 485 to 5, and 5 to 212."""


def save_numbered(name: str) -> None:
    """Pixels that tell where they were; the size stands in the name."""
    height, width = map(int, Path(name).stem.split("_"))
    save(np.arange(height * width).astype(np.uint8).reshape(height, width), name)


READ = {
    "grey_16.png": lambda name: save(ramp(0, 65535, np.uint16), name),
    "grey_16.tif": lambda name: save(ramp(0, 4096, np.uint16), name),
    "grey_32.tif": lambda name: save(ramp(0, 65535, np.int32), name),
    "black_16.png": lambda name: save(ramp(0, 0, np.uint16), name),
    "color_16.png": lambda name: save_rgb_16(name, 4096),
    "palette.gif": lambda name: Image.fromarray(ramp(0, 255, np.uint8)).convert("P").save(name),
    "palette_alpha.png": lambda name: save_palette(name, transparency=bytes(range(256))),
    "palette_one.png": lambda name: save_palette(name, transparency=128),
    "alpha.png": lambda name: Image.new("RGBA", (30, 20), (250, 5, 9, 0)).save(name),
    "cmyk.jpg": lambda name: Image.new("CMYK", (33, 333), (0, 255, 9, 0)).save(name),
    "one_bit.png": lambda name: Image.new("1", (7, 9), 1).save(name),
    "long.png": lambda name: Image.fromarray(np.arange(60_000, dtype=np.uint16).astype(np.uint8)[None]).save(name),
    "tall.png": lambda name: Image.fromarray(np.arange(60_000, dtype=np.uint16).astype(np.uint8)[:, None]).save(name),
    **{f"{height}_{width}.png": save_numbered for height, width in ELONGATED},
    "turned.jpg": lambda name: Image.fromarray(ramp(0, 255, np.uint8)).save(name, exif=turned()),
    "packed_16.bmp": lambda name: Path(name).write_bytes(packed_16()),
}


def save_palette(name: str, transparency: bytes | int) -> None:
    image = Image.fromarray(ramp(0, 255, np.uint8)).convert("P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    image.save(name, transparency=transparency)


def turned() -> Image.Exif:
    """Tells a viewer to turn the image by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def packed_16() -> bytes:
    """A dark BMP with 16 bits a pixel (5, 6 and 5 a channel), not a channel."""
    header = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 66) + struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    return header + struct.pack("<3I", 0xF800, 0x7E0, 0x1F) + struct.pack("<2H", 0x0841, 0x0841)


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("in_channels", [3, 1])
def test_same_pixels(name, in_channels, script, capsys):
    READ[name](name)
    model = {**MODEL, "in_channels": in_channels}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = EvalTransform(**model, mean=(0.5,) * in_channels, std=(0.5,) * in_channels).pixels(read_image(name))
        warnings.filterwarnings("ignore", module=r"PIL\.")  # as the scripts' main does
        assert np.array_equal(script.read_pixels(name, model), pixels)
    assert capsys.readouterr().err == ""


DARK = {
    "grey_12.png": (lambda name: save(ramp(0, 4095, np.uint16), name), "4,095"),
    "grey_8.png": (lambda name: save(ramp(0, 255, np.uint16), name), "255"),
    "one.tif": (lambda name: save(ramp(1, 1, np.uint16), name), "1"),
    "grey_32.tif": (lambda name: save(ramp(0, 300, np.int32), name), "300"),
    "color_12.png": (lambda name: save_rgb_16(name, 4095), "at most 4,095"),
    "color_8.png": (lambda name: save_rgb_16(name, 255), "at most 255"),
}


@pytest.mark.parametrize("name", DARK)
def test_16_bits_of_which_few_are_used(name, script, capsys):
    write, value = DARK[name]
    write(name)
    with pytest.warns(ImageWarning) as caught:
        read_image(name)
    (message,) = (str(warning.message) for warning in caught)
    assert message.startswith(f"image {name} is read almost black: ")
    assert f"brightest value is {value} of 65,535; " in message
    script.read_pixels(name, MODEL)
    assert capsys.readouterr().err == f"warning: {message}\n"


def test_the_list_of_formats(script):
    assert tuple(script.FORMATS) == FORMATS


@pytest.mark.parametrize("name", ["run_detector", "run_detector_onnx"])
@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (2, 500), (700, 5), (9, 640)])
def test_elongated_images_of_detectors(name, size, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "deploy")
    script = importlib.import_module(name)
    save_numbered(image := "{}_{}.png".format(*size))
    model = {"canvas": [64, 128], "short_side": 60, "long_side": 120, "mean": [0.5, 0.4, 0.3], "std": [0.5, 0.6, 0.7]}
    values, shape, scale, _ = script.prepare(image, model)
    transform = DetectionTransform(
        canvas=(64, 128), short_sides=[60], flip_prob=0, mean=model["mean"], std=model["std"], long_side=120
    )
    placed = transform(read_image(image), np.zeros((0, 4), np.float32))
    np.testing.assert_allclose(values, placed.values, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(shape, placed.size)
    np.testing.assert_allclose(scale, placed.scale)
    for module in ("run_detector", "run_detector_onnx", "run_mindir"):
        sys.modules.pop(module, None)
