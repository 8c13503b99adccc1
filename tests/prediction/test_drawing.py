"""Pictures of predictions: their size, what is where in them, and that no image is written over."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from src.errors import UserError
from src.prediction.drawing import Drawings, draw_prediction
from src.prediction.predictions import Prediction
from src.terminal.fonts import find_fonts

FONTS = [ImageFont.load_default(16)]
TOP = [("cat", 0.75), ("dog", 0.25)]
BARS = {0: (0x2A, 0x6F, 0xBB), 1: (0x9D, 0xB8, 0xD6)}
TRACK = (0xE8, 0xEC, 0xF1)


def write_image(path: str, colour: str = "red", size: tuple[int, int] = (20, 30)) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return Path(path)


def count(picture: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(picture) == colour).all(axis=2).sum())


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ((8, 8), (256, 256)),
        ((1, 1), (256, 256)),
        ((100, 50), (300, 150)),
        ((256, 10), (256, 10)),
        ((1024, 768), (1024, 768)),
        ((4096, 2048), (1024, 512)),
        ((1, 30000), (1, 1024)),
    ],
)
def test_sizes(size, drawn):
    picture = draw_prediction(Image.new("RGB", size, (250, 0, 0)), TOP, FONTS)
    width = max(drawn[0], 360)
    assert picture.mode == "RGB" and picture.width == width
    assert drawn[1] + 60 < picture.height < drawn[1] + 150
    assert count(picture, (250, 0, 0)) == drawn[0] * drawn[1]
    assert picture.getpixel(((width - 1) // 2, drawn[1] // 2)) == (250, 0, 0)  # in the middle
    assert picture.getpixel((0, picture.height - 1)) == (255, 255, 255)


def test_pixels_of_small_images_stay_sharp():
    image = Image.fromarray(np.array([[[0, 0, 0], [255, 255, 255]]] * 2, np.uint8))
    picture = np.asarray(draw_prediction(image, TOP, FONTS))[:256, 52:308]
    assert (picture[:, :128] == 0).all() and (picture[:, 128:] == 255).all()


def test_bars_are_as_long_as_probable():
    picture = draw_prediction(Image.new("RGB", (1024, 100)), TOP, FONTS)
    first, second, track = count(picture, BARS[0]), count(picture, BARS[1]), count(picture, TRACK)
    assert first == pytest.approx(3 * second, rel=0.02)
    assert first + second == pytest.approx(track, rel=0.02)
    empty = draw_prediction(Image.new("RGB", (1024, 100)), [("cat", 1.0), ("dog", 0.0)], FONTS)
    assert count(empty, BARS[1]) == 0
    assert count(empty, BARS[0]) == pytest.approx(count(empty, TRACK), rel=0.02)


def test_labels_are_drawn_and_cut():
    blank = draw_prediction(Image.new("RGB", (300, 300)), [("", 0.5)], FONTS)
    short = draw_prediction(Image.new("RGB", (300, 300)), [("cat", 0.5)], FONTS)
    long = draw_prediction(Image.new("RGB", (300, 300)), [("cat " * 100, 0.5)], FONTS)
    assert blank.tobytes() != short.tobytes() != long.tobytes()
    assert count(long, BARS[0]) == count(short, BARS[0])  # no letter on the bar


@pytest.mark.parametrize("label", ["狗", "Bär", "line\nend", "\udcff", "🐈", "", "\x00", "كلب"])
def test_any_label(label):
    draw_prediction(Image.new("RGB", (30, 30)), [(label, 0.5)], find_fonts())


def test_files_of_one_name_stay_apart():
    files = [write_image(name) for name in ("in/a/x.png", "in/b/x.png", "in/x.png", "in/x.jpg")]
    before = [file.read_bytes() for file in files]
    drawings = Drawings("out", files)
    assert not Path("out").exists()
    written = [drawings.draw(Prediction(file, TOP)) for file in [*files, files[0]]]
    names = ["a/x.png", "b/x.png", "x.png", "x.jpg", "a/x.png"]
    assert written == [Path(f"out/{name}.prediction.png") for name in names]
    assert sorted(path for path in Path("out").rglob("*") if path.is_file()) == sorted(set(written))
    assert [file.read_bytes() for file in files] == before
    assert Drawings("out", [files[0].absolute()]).draw(Prediction(files[0].absolute(), TOP)) == Path(
        "out/x.png.prediction.png"
    )


@pytest.mark.parametrize("letter", ["x", "狗"])
def test_long_names_are_shortened(letter):
    stem = letter * (231 // len(letter.encode()))  # with its ending a name of 235 bytes
    files = [write_image(name) for name in (f"{stem}.png", f"{stem}.jpg", f"in/{stem}.png")]
    drawings = Drawings("out", files)
    written = [drawings.draw(Prediction(file, TOP)) for file in files]
    assert len(set(written)) == len(files) and all(path.is_file() for path in written)
    for path in written:
        assert path.name.startswith(letter * 10) and path.name.endswith(".prediction.png")
        assert len(os.fsencode(path.name)) <= 220
    assert Drawings("out", [Path("x" * 205)])._names[Path("x" * 205)].name == "x" * 205 + ".prediction.png"


def test_drawn_as_the_network_sees_it():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, which the network's reader does not
    Image.new("RGB", (400, 100), (0, 0, 255)).save("turned.jpg", exif=exif)
    Image.new("L", (400, 300), 128).save("grey.png")
    drawings = Drawings("out", [Path("turned.jpg"), Path("grey.png")])
    with Image.open(drawings.draw(Prediction(Path("turned.jpg"), TOP))) as picture:
        assert picture.format == "PNG" and picture.width == 400 and not picture.getexif()
        red, _, blue = picture.getpixel((399, 99))
        assert red < 5 and blue > 250
    with Image.open(drawings.draw(Prediction(Path("grey.png"), TOP))) as picture:
        assert picture.getpixel((0, 0)) == (128, 128, 128)


def test_no_image_is_written_over():
    write_image("x.png")
    drawn = Drawings(".", [Path("x.png")]).draw(Prediction(Path("x.png"), TOP))
    os.symlink("x.png", "link.png")
    for files in ([Path("x.png"), drawn], [Path("x.png"), Path("link.png"), drawn]):
        with pytest.raises(UserError, match="x.png.prediction.png is one of the images and would be replaced"):
            Drawings(".", files)


def test_folders_that_cannot_be_used():
    files = [write_image("x.png")]
    Path("file").write_text("")
    for folder in ("file", "file/below"):
        with pytest.raises(UserError, match=f"cannot draw into {folder}: .*file is not a folder that can be written"):
            Drawings(folder, files)
    drawings = Drawings("late", files)
    Path("late").write_text("")
    with pytest.raises(UserError, match="cannot make the folder late"):
        drawings.draw(Prediction(files[0], TOP))
    assert sorted(path.name for path in Path().iterdir()) == ["file", "late", "x.png"]
