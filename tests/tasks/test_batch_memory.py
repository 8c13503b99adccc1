"""A batch that cannot fit is refused before anything of it is made."""

import re

import pytest

from src import memory
from src.config import Config
from src.detection.memory_need import num_activations, num_mask_targets, num_of_regions
from src.errors import UserError
from src.tasks.batch_memory import check_batch_fits, check_detector_fits, check_training_fits
from src.weights.detector_card import DetectorCard
from src.weights.model_card import ModelCard
from tests.tiny_detectors import TINY_BACKBONE

SMALL = {"depth": 1, "inner_blocks": [], "outer_dim": 8, "outer_num_heads": 2}  # 18 * 8 * 8 + 2 * 2 * 8 * 8 numbers
CARD = ModelCard("tnt_s_patch16_224", SMALL, ["a", "b"], (32, 64), 3, (0.5,) * 3, (0.5,) * 3, 0.9)


@pytest.fixture(autouse=True)
def one_gigabyte(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 10**9)


def largest_batch(fits) -> int:
    """Half of the interval at each step: the largest batch size that `fits` lets pass."""
    low, high = 1, 10**6
    while high - low > 1:
        middle = (low + high) // 2
        try:
            fits(middle)
            low = middle
        except UserError:
            high = middle
    return low


def test_evaluation():
    assert largest_batch(lambda batch: check_batch_fits(CARD, batch)) == 10**9 // (4 * (2 * 3 * 32 * 64 + 1408))
    with pytest.raises(UserError, match=r"^21,000 images of 3 channels and 32 x 64 pixels would take at least 1.0 GB"):
        check_batch_fits(CARD, 21_000)
    with pytest.raises(
        UserError, match="^tnt_s_patch16_224 with 20,000 images of 3 channels and 32 x 64 pixels would take"
    ):
        check_batch_fits(CARD, 20_000)


@pytest.mark.parametrize(
    "recompute, precision, kept", [(False, "float32", 2112), (True, "float32", 1408), (False, "float16", 1408)]
)
def test_training(recompute, precision, kept):
    config = Config()
    config.train.recompute, config.train.precision = recompute, precision

    def fits(batch):
        config.train.batch_size = batch
        check_training_fits(CARD, config)

    assert largest_batch(fits) == 10**9 // (4 * (2 * 3 * 32 * 64 + kept))


def detector(name="retinanet_ptnt_s", canvas=(800, 1344), classes=80, **arguments) -> DetectorCard:
    names = [str(number) for number in range(classes)]
    return DetectorCard(
        name, arguments, names, list(range(classes)), canvas, min(canvas), max(canvas), (0.5,) * 3, (0.5,) * 3
    )


def needed(card, is_trained=True, max_objects=0, **train) -> float:
    """Gigabytes that the message says."""
    config = Config()
    vars(config.train).update({"batch_size": 1, **train})
    with pytest.raises(UserError) as found:
        check_detector_fits(card, config, is_trained, max_objects)
    size = config.train.batch_size
    match = re.fullmatch(
        rf"{card.model} with {size} images? on a canvas of {card.canvas[0]} x {card.canvas[1]} pixels would take at "
        r"least ([0-9.,]+) GB of memory, and this machine has 0.1 GB; lower train.batch_size or the canvas, "
        r"model.image_size",
        str(found.value),
    )
    return float(match[1].replace(",", ""))


def test_retinanet_needs_at_most_what_was_measured_and_not_much_less(monkeypatch):
    """24.0 GB for a step with one image, 4.0 GB for a prediction, MindSpore 2.10 on CPU; 5.4 GB on 512 x 512."""
    monkeypatch.setattr(memory, "machine_memory", lambda: 10**8)
    card = detector()
    assert 24.0 / 1.5 <= needed(card) <= 24.0 and 4.0 / 2 <= needed(card, is_trained=False) <= 4.0
    assert 5.4 / 2 <= needed(detector(canvas=(512, 512))) <= 5.4
    assert needed(card, recompute=True) == needed(card)  # which saves nothing on CPU
    assert needed(card, precision="float16") == pytest.approx(needed(card) / 2, abs=0.4)
    assert needed(card, batch_size=2) == pytest.approx(2 * needed(card) - 0.5, abs=0.2)  # weights are there once
    assert needed(card, max_objects=50) == needed(card)


@pytest.mark.parametrize("name", ["mask_rcnn_ptnt_s", "cascade_mask_rcnn_ptnt_s"])
def test_two_stages_need_what_their_regions_do(name, monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 10**8)
    card = detector(name)
    assert needed(card) > needed(detector())
    assert 4.5 / 2 <= needed(detector("mask_rcnn_ptnt_ti", canvas=(256, 256))) <= 4.5  # was measured
    for less in ({"regions": 128}, {"window": 8}, {"fpn_channels": 64}, {"mask_convs": 0}):
        assert needed(detector(name, **less)) < needed(card)
    assert needed(detector(name, proposals=100)) == needed(card)  # in training a region is one of `regions`
    assert needed(detector(name, proposals=100), is_trained=False) < needed(card, is_trained=False)
    assert needed(card, max_objects=500) == pytest.approx(needed(card) + 500 * 800 * 1344 / 1e9, abs=0.11)


def test_parts_of_a_detector_by_hand():
    structure = TINY_BACKBONE
    one = {"anchor_scale": 2.0, "fpn_channels": 8, "stacked_convs": 3, "backbone": structure}
    *blocks, stem, upsampling, pyramid, head, loss = num_activations("retinanet_ptnt_ti", one, (64, 64), 5, True)
    assert len(blocks) == 8
    assert stem == 3 * (32 * 32 * 12 + 16 * 16 * 16 + 8 * 8 * 40)
    assert upsampling == 8 * 8 * (16**2 + 8**2 + 4**2 + 2**2)
    positions = 8**2 + 4**2 + 2**2 + 1 + 1
    assert pyramid == 4 * positions * 8 and head == positions * (4 * 3 * 8 + 9 * (5 + 4))
    assert loss == 8 * 9 * positions * 5
    assert num_activations("retinanet_ptnt_ti", one, (64, 64), 5, False)[-1] == head

    two = {"fpn_channels": 8, "fc_channels": 6, "mask_convs": 2, "proposals": 20, "regions": 16, "window": 10}
    two["backbone"] = structure
    positions = 16**2 + 8**2 + 4**2 + 2**2 + 1

    def heads(boxes, masks, outputs):
        box = boxes * (8 * (100 + 70 + 49) + 4 * 6 + outputs)
        mask = masks * (14 * 14 * 2 * 2 * 8 + 28 * 28 * (2 * 8 + 5))
        return box, mask, masks * 8 * (100 + 140 + 196)

    first = positions * (2 * 8 + 15)
    for is_trained in (True, False):
        assert num_activations("mask_rcnn_ptnt_ti", two, (64, 64), 5, is_trained)[-1] == first
    assert tuple(num_of_regions("mask_rcnn_ptnt_ti", two, 5, True)) == heads(16, 4, 6 + 20)
    assert tuple(num_of_regions("mask_rcnn_ptnt_ti", two, 5, False)) == heads(20, 100, 6 + 20)
    assert num_of_regions("retinanet_ptnt_ti", one, 5, True) == []
    assert num_of_regions("cascade_mask_rcnn_ptnt_ti", two, 5, True) == [
        part for part in heads(16, 4, 6 + 4) for _ in range(3)
    ]
    assert num_mask_targets("mask_rcnn_ptnt_ti", two, (64, 96), 8) == 64 * 96 * (8 / 4 + 4)
    assert num_mask_targets("retinanet_ptnt_ti", one, (64, 96), 8) == 0
