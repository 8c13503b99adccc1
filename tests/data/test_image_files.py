"""Image files that somebody names: their labels come from their folders."""

from pathlib import Path

import pytest
from PIL import Image

from src.data.image_files import UNKNOWN, ImageFiles
from src.errors import UserError


def test_labels_by_name_and_by_wordnet_id(tmp_path):
    files = [tmp_path / folder / "a.png" for folder in ("dog", "n02012849", "n01440764 tench", "unknown")]
    for number, file in enumerate(files):
        file.parent.mkdir()
        Image.new("RGB", (2, 1), (number, 0, 0)).save(file)
    classes = ["n01440764 tench", "dog", "n02012849 crane"]
    images = ImageFiles(files, classes)
    assert len(images) == 4 and images.classes == classes
    assert [images.label(index) for index in range(4)] == [1, 2, 0, UNKNOWN]
    image, label = images[1]
    assert image.getpixel((0, 0)) == (1, 0, 0) and label == 2
    assert images.describe(3) == str(files[3])
    assert images.fingerprint() != ImageFiles(files[::-1], classes).fingerprint()


def test_relative_files_and_broken_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cat").mkdir()
    Path("cat/a.png").write_bytes(b"no image")
    images = ImageFiles([Path("cat/a.png")], ["cat"])
    assert images.label(0) == 0 and images.describe(0) == "cat/a.png"
    with pytest.raises(UserError, match="cat/a.png"):
        images[0]
