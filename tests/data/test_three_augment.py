"""3-Augment: one of three, in equal shares, decided by the stream alone."""

import numpy as np
import pytest
from PIL import Image

from src.data.three_augment import ThreeAugment
from src.data.transforms import TrainTransform


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))


def kind(image, result):
    before, after = np.asarray(image).astype(int), np.asarray(result).astype(int)
    if (after == after[..., :1]).all():
        return "grey"
    return "solarized" if (after == np.where(before < 128, before, 255 - before)).all() else "blurred"


def test_one_of_three(image):
    kinds = [kind(image, ThreeAugment()(image, np.random.default_rng(seed))) for seed in range(300)]
    assert {name: kinds.count(name) for name in set(kinds)} == pytest.approx(
        {"grey": 100, "solarized": 100, "blurred": 100}, abs=25
    )


def test_jitter_comes_after(image):
    plain, jittered = ThreeAugment(), ThreeAugment(0.3)
    for seed in range(5):
        one, other = (augment(image, np.random.default_rng(seed)) for augment in (plain, jittered))
        assert one.size == other.size and one.tobytes() != other.tobytes()
        assert other.tobytes() == jittered(image, np.random.default_rng(seed)).tobytes()


@pytest.mark.parametrize("channels", [1, 3])
def test_in_the_training_transform(image, channels):
    arguments = {"image_size": 8, "mean": (0.5,) * channels, "std": (0.5,) * channels, "in_channels": channels}
    arguments |= {"crop_scale": (0.5, 1.0), "crop_ratio": (1.0, 1.0), "flip_prob": 0.5, "rand_augment": None}
    transform = TrainTransform(**arguments, color_jitter=0.3, three_augment=True)
    plain = TrainTransform(**arguments, color_jitter=0.0)
    one, other = (t(image, np.random.default_rng(1)) for t in (transform, plain))
    assert one.shape == other.shape == (8, 8, channels) and (one != other).any()
