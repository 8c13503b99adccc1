"""AugMix: what is drawn, how chains and image are mixed, and that the stream alone decides."""

import numpy as np
import pytest
from PIL import Image

from src.config import Config, DataConfig, load_config
from src.config.rules import check_values
from src.data import augmix, rand_augment
from src.data.augmix import AugMix, mix
from src.data.loader import TrainLoader
from src.data.rand_augment import Step, apply
from src.data.transforms import TrainTransform
from src.errors import UserError
from tests.data.test_loader import Noise

MEAN = (0.5, 0.25, 1.0)


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8))


def gray(value, size=(3, 2)):
    return Image.new("RGB", size, (value,) * 3)


def test_a_mix_by_hand():
    """0.25 * 100 + 0.75 * (0.2 * 0 + 0.3 * 100 + 0.5 * 212) = 25 + 0.75 * 136 = 127."""
    chains, weights = [gray(0), gray(100), gray(212)], [0.2, 0.3, 0.5]
    for share, expected in ((0.25, 127), (1.0, 100), (0.0, 136), (0.5, 118)):
        result = mix(gray(100), chains, share, weights)
        assert (result.mode, result.size, set(result.tobytes())) == ("RGB", (3, 2), {expected})
    assert set(mix(gray(255), [gray(255)] * 3, 0.3, [0.1, 0.2, 0.7]).tobytes()) == {255}


def test_identity_chains_give_the_image_back(image, monkeypatch):
    monkeypatch.setattr(augmix, "apply", lambda step, image, fill: image)
    for seed in range(50):
        assert AugMix(MEAN)(image, np.random.default_rng(seed)).tobytes() == image.tobytes()


def test_the_formula(image):
    """Algorithm 1 of the paper, written out in float64."""
    augment = AugMix(MEAN)
    fill = (128, 64, 255)
    for seed in range(20):
        share, weights, chains = augment.draw(np.random.default_rng(seed))
        expected = np.zeros((16, 24, 3))
        for weight, chain in zip(weights, chains, strict=True):
            distorted = image
            for step in chain:
                distorted = apply(step, distorted, fill)
            expected += weight * np.asarray(distorted, np.float64)
        expected = share * np.asarray(image, np.float64) + (1 - share) * expected
        found = np.asarray(augment(image, np.random.default_rng(seed)), np.float64)
        assert np.abs(found - expected).max() <= 0.5 + 1e-4


def test_what_is_drawn():
    """Means and variances of Dirichlet(1, 1, 1), Beta(1, 1), and uniform depths and severities."""
    rng = np.random.default_rng(0)
    drawn = [AugMix(MEAN).draw(rng) for _ in range(3000)]
    shares, weights = np.array([one.share for one in drawn]), np.array([one.weights for one in drawn])
    assert weights.shape == (3000, 3) and np.allclose(weights.sum(axis=1), 1) and weights.min() >= 0
    assert np.allclose(weights.mean(axis=0), 1 / 3, atol=0.02) and np.allclose(weights.var(axis=0), 1 / 18, atol=0.006)
    assert shares.mean() == pytest.approx(0.5, abs=0.02) and shares.var() == pytest.approx(1 / 12, abs=0.006)
    chains = [chain for one in drawn for chain in one.chains]
    assert len(chains) == 9000 and {len(chain) for chain in chains} == {1, 2, 3}
    assert np.bincount([len(chain) for chain in chains])[1:] / 9000 == pytest.approx([1 / 3] * 3, abs=0.02)
    steps = [step for chain in chains for step in chain]
    counts = [sum(step.name == name for step in steps) for name in augmix.OPERATIONS]
    assert sum(counts) == len(steps) and np.array(counts) / len(steps) == pytest.approx([1 / 9] * 9, abs=0.01)
    plain = np.array([step.magnitude for step in steps if not step.name.startswith("Translate")])
    assert 0.1 <= plain.min() < 0.2 and 2.9 < plain.max() <= 3 and plain.mean() == pytest.approx(1.55, abs=0.03)
    assert np.mean([step.sign for step in steps]) == pytest.approx(0, abs=0.03)


def test_operations_are_those_of_randaugment_without_what_imagenet_c_has():
    names = {name.removesuffix("Increasing") for name in augmix.OPERATIONS}
    assert set(augmix.OPERATIONS) <= set(rand_augment.OPERATIONS) and len(names) == 9
    assert not names & {"Color", "Contrast", "Brightness", "Sharpness", "Invert", "SolarizeAdd"}


def test_translations_are_a_third_of_the_side_at_severity_10(monkeypatch):
    monkeypatch.setattr(augmix, "SEVERITY", (10, 10))
    monkeypatch.setattr(augmix, "OPERATIONS", ("TranslateXRel",))
    step = AugMix(MEAN).draw(np.random.default_rng(0)).chains[0][0]
    ramp = Image.fromarray(np.tile(np.arange(30, dtype=np.uint8)[None, :, None], (2, 1, 3)))
    moved = np.asarray(apply(Step(step.name, step.magnitude, 1, step.resampling), ramp, (255,) * 3))[0, :, 0]
    assert moved[:20].tolist() == list(range(10, 30)) and set(moved[20:]) == {255}


@pytest.mark.parametrize("channels", [1, 3])
def test_in_the_training_transform(image, channels):
    arguments = {"image_size": 8, "mean": (0.5,) * channels, "std": (0.5,) * channels, "in_channels": channels}
    arguments |= {"crop_scale": (0.5, 1.0), "crop_ratio": (1.0, 1.0), "flip_prob": 0.5, "rand_augment": None}
    transform = TrainTransform(**arguments, color_jitter=0.0, augmix=True)
    plain = TrainTransform(**arguments, color_jitter=0.0)
    one, again, other = (t(image, np.random.default_rng(1)) for t in (transform, transform, plain))
    assert one.shape == other.shape == (8, 8, channels) and (one != other).any() and (one == again).all()
    jittered = TrainTransform(**arguments, color_jitter=0.3, augmix=True)
    assert (jittered(image, np.random.default_rng(1)) == one).all()


def test_a_function_of_seed_epoch_and_image():
    arguments = {"image_size": 8, "mean": (0.5,) * 3, "std": (0.5,) * 3, "in_channels": 3, "batch_size": 4}
    arguments |= {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "flip_prob": 0.0, "rand_augment": None}
    arguments |= {"color_jitter": 0.0, "erase_prob": 0.0, "mixup": 0.0, "cutmix": 0.0, "mix_prob": 1.0}
    arguments |= {"mix_switch_prob": 0.5, "label_smoothing": 0.0, "repeats": 1, "augmix": True}

    def epoch(number, seed=3, workers=0):
        loader = TrainLoader(Noise(8), seed=seed, workers=workers, **arguments)
        batches = [np.array(images) for images, _ in loader.epoch(number)]
        loader.close()
        return np.concatenate(batches)

    first = epoch(0)
    assert np.array_equal(first, epoch(0)) and np.array_equal(first, epoch(0, workers=2))
    assert not np.array_equal(np.sort(first, axis=None), np.sort(epoch(1), axis=None))
    assert not np.array_equal(np.sort(first, axis=None), np.sort(epoch(0, seed=4), axis=None))


def test_one_augmentation_at_a_time():
    for data, message in (
        (
            DataConfig(augmix=True, rand_augment="rand-m9-inc1"),
            "data.augmix is true: expected data.rand_augment to be nu",
        ),
        (DataConfig(augmix=True, three_augment=True), "data.three_augment and data.augmix are true: expected one of"),
    ):
        with pytest.raises(UserError, match=message):
            check_values(Config(data=data), "x")
    with open("augmix.yaml", "w") as file:
        file.write("data: {augmix: true}\n")
    assert load_config("augmix.yaml").data.augmix is True
