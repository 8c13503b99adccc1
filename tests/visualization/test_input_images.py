"""Which images are looked at, and as what the network sees them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.transforms import EvalTransform
from src.errors import UserError
from src.visualization.input_images import load_images
from src.weights.model_card import ModelCard

CARD = ModelCard("tnt_s_patch16_224", {}, ["a", "b"], (16, 16), 3, (0.5,) * 3, (0.25,) * 3, 0.8)


def write(path: str, value: int = 100) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 20), (value, 0, 0)).save(path)
    return Path(path)


def test_files_and_folders():
    files = [write("b.png"), write("folder/c.png", 200), write("folder/a.png")]
    Path("broken.png").write_text("no image")
    images, skipped = load_images(["b.png", "folder", "broken.png", "missing"], CARD)
    assert [image.name for image in images] == ["b", "a", "c"]
    assert [problem.file.name for problem in skipped] == ["broken.png", "missing"]
    transform = EvalTransform(image_size=(16, 16), mean=CARD.mean, std=CARD.std, in_channels=3, crop_pct=0.8)
    with Image.open(files[1]) as image:
        np.testing.assert_array_equal(images[2].values, transform(image))
    np.testing.assert_allclose(images[2].values, (images[2].pixels.transpose(2, 0, 1) / 255 - 0.5) / 0.25, atol=1e-6)


def test_digits():
    images, skipped = load_images(["digits", str(write("a.png"))], CARD)
    assert [image.name for image in images] == ["digit_0", "digit_1", "digit_2", "digit_3", "digit_4", "a"]
    assert skipped == []


def test_too_many_or_none():
    for number in range(17):
        write(f"many/{number}.png")
    with pytest.raises(UserError, match="at most 16 images, got 17"):
        load_images(["many"], CARD)
    with pytest.raises(UserError, match="no image to look at: .*missing"):
        load_images(["missing.png"], CARD)
