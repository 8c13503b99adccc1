"""config/detection/ against the published recipe and the published sizes."""

from pathlib import Path

import pytest

from src.config import load_config
from src.detection import list_detectors
from src.engine.from_config import create_schedule
from src.tasks import create_task
from src.weights.detector_card import DetectorCard

FOLDER = Path(__file__).resolve().parents[2] / "config" / "detection"
FILES = sorted(FOLDER.glob("*.yaml"))
DEVICES, STEPS = 8, 7330  # of an epoch of COCO with 16 images a step

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def is_long(path):
    return path.stem.endswith("_3x")


def test_there_is_a_file_for_each_size():
    recipes = {"retinanet": ["1x"], "mask_rcnn": ["1x", "3x"], "cascade_mask_rcnn": ["1x", "3x"]}
    expected = [f"{kind}_ptnt_{size}_{x}" for kind, xs in recipes.items() for x in xs for size in ("m", "s", "ti")]
    assert [path.stem for path in FILES] == sorted(expected)


@each_file
def test_it_gives_the_card_of_its_detector_without_data(path):
    task = create_task(load_config(path))
    task.open_without_data()
    card = task.card
    assert isinstance(card, DetectorCard)
    assert card.model == path.stem[: -len("_1x")] and card.model in list_detectors()
    assert card.arguments == {}  # the published structure, tables of the pretraining size
    assert card.canvas == (800, 1344) and (card.short_side, card.long_side) == (800, 1333)
    assert len(card.classes) == len(card.category_ids) == 80
    assert (card.mean, card.std) == ((0.5,) * 3, (0.5,) * 3)


@each_file
def test_it_is_the_published_recipe(path):
    config = load_config(path)
    assert config.train.batch_size * DEVICES == 16
    assert (config.optimizer.name, config.optimizer.lr, config.optimizer.weight_decay) == ("adamw", 1e-4, 0.05)
    assert config.optimizer.clip_norm is None and config.train.ema_decay is None
    short_sides = range(640, 801) if is_long(path) else [800]
    assert config.data.flip_prob == 0.5 and list(config.data.short_sides) == list(short_sides)
    assert config.model.batch_norm == "eval" and config.model.drop_path_rate == 0.1
    data = config.data
    assert not (data.mixup or data.cutmix or data.erase_prob or data.rand_augment or data.color_jitter)
    assert data.repeats == 1


@each_file
def test_the_learning_rate_rises_for_500_steps_and_falls_twice(path):
    config = load_config(path)
    first, second, end = (27, 33, 36) if is_long(path) else (8, 11, 12)
    assert config.schedule.epochs == end
    schedule = create_schedule(config, steps_per_epoch=STEPS, images_per_step=16)
    steps = [0, 499, first * STEPS - 1, first * STEPS, second * STEPS - 1, second * STEPS, end * STEPS - 1]
    rates = [schedule.at(step) for step in steps]
    assert rates == pytest.approx([1e-7, 1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6], rel=1e-5)
    assert schedule.at(498) < 0.999e-4


@each_file
def test_its_header_says_how_to_train_it_with_16_images_a_step_and_what_is_published(path):
    text = path.read_text()
    assert f"run_distribute_train.sh --config config/detection/{path.name}" in text
    assert text.count("--init_from") == 2 and "--train.accumulate 8" in text
    assert "Not trained here." in text
    assert ("42.0 box AP" in text) == (path.stem == "retinanet_ptnt_s_1x")
