"""A detector's card whose values cannot be used does not come into being."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from src.errors import UserError
from src.weights.checkpoint import read_checkpoint, save_checkpoint
from src.weights.detector_card import DetectorCard
from src.weights.model_card import ModelCard

CARD = DetectorCard(
    "retinanet_ptnt_ti", {"fpn_channels": 8, "backbone": {"depths": [1, 1, 1, 1]}}, ["a", "狗"], [1, 17], (64, 96), 64,
    96, (0.5, 0, 0.25), (1, 0.5, 0.25), "as it is",
)  # fmt: skip
NAN, INFINITE, HUGE = float("nan"), float("inf"), 10**5000

WRONG = {
    "model": [None, 5, [], {}, "a" * 1001],
    "arguments": [None, [], "depth", {"num_classes": 3}, {"canvas": [64, 96]}, {"batch_norm": "eval"}],
    "classes": [None, "ab", ["a", 5], ["a", None], {"a": 1}, ["a" * 1001, "b"], ["a" * 1000] * 8001],
    "category_ids": [None, 1, [1], [1, 2, 3], [1, 2.0], [1, "2"], [1, True], {"1": 2}, []],
    "canvas": [None, 64, [], [64], [64, 64, 64], [0, 64], [64, 16385], [64.0, 64], [True, 64], ["64", 64], [HUGE, 1]],
    "short_side": [None, 0, -1, 64.0, True, "64", [64], 16385, HUGE],
    "long_side": [None, 0, -1, 96.0, True, "96", [96], 16385, HUGE],
    "mean": [None, 0.5, [], [0.5] * 2, [0.5] * 4, [0, 0, NAN], [0, 0, INFINITE], [0, 0, HUGE], [0, 0, True]],
    "std": [None, [1] * 2, [1, 1, 0], [1, 1, -1], [1, 1, NAN], [1, 1, INFINITE], [1, 1, 1e-7], [1, 1, HUGE]],
    "resize": [None, 5, [], "a" * 1001],
}  # fmt: skip


def test_round_trip():
    assert DetectorCard.from_dict(json.loads(json.dumps(CARD.to_dict())), "x") == CARD
    shorter = {name: value for name, value in CARD.to_dict().items() if name != "resize"}
    assert DetectorCard.from_dict(shorter, "x").resize.startswith("scaled by min(long_side / longer side")


def test_it_travels_in_a_checkpoint():
    """And is told from a classifier's."""
    save_checkpoint("x.ckpt", [], CARD)
    assert read_checkpoint("x.ckpt").card == CARD
    other = ModelCard("ptnt_ti_patch16_192", {}, ["a"], (64, 64), 3, (0.5,) * 3, (0.5,) * 3, 0.9)
    save_checkpoint("x.ckpt", [], other)
    assert read_checkpoint(Path("x.ckpt")).card == other


def test_arguments_of_the_detector():
    assert CARD.detector_arguments() == {**CARD.arguments, "num_classes": 2, "canvas": (64, 96)}
    assert "num_classes" not in CARD.arguments


def test_limits_are_inside():
    replace(CARD, classes=[], category_ids=[], canvas=(1, 16384), short_side=1, long_side=16384)
    replace(CARD, mean=(-1000, 1000, 0), std=(1e-6, 1000, 1), arguments={}, resize="", category_ids=[-5, 10**12])
    replace(CARD, classes=["a" * 1000] * 8000, category_ids=list(range(8000)))


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_named(name):
    for value in WRONG[name]:
        with pytest.raises(UserError) as found:
            DetectorCard.from_dict({**CARD.to_dict(), name: value}, "x.ckpt")
        message = str(found.value)
        assert message.startswith("x.ckpt: its description of the network cannot be used: ")
        assert "\n" not in message and len(message) < 800
        assert {"classes": "class"}.get(name, name) in message.partition("cannot be used: ")[2]


def test_wrong_values_have_no_card_at_all():
    with pytest.raises(UserError, match="^category_ids: expected one for each of 2 labels, got 1$"):
        replace(CARD, category_ids=[1])
    with pytest.raises(UserError, match="^arguments: canvas is no argument here, but told by the rest$"):
        replace(CARD, arguments={"canvas": (64, 96)})
    with pytest.raises(UserError, match="^arguments: drop_path_rate is no part .*; configurations have model"):
        replace(CARD, arguments={"drop_path_rate": 0.1})
    with pytest.raises(
        UserError, match=r"^mean: expected three values, each a number from -1000 to 1000, got \(1, 2\)$"
    ):
        replace(CARD, mean=(1, 2))


def test_wrong_names():
    values = CARD.to_dict()
    for wrong, reason in (
        (None, "expected names and values, got None"),
        ({k: v for k, v in values.items() if k != "category_ids"}, "expected category_ids, which is missing"),
        ({**values, "short_sid": 1}, "unknown 'short_sid'; did you mean short_side"),
    ):
        with pytest.raises(UserError, match=f"^x: its description of the network cannot be used: {reason}"):
            DetectorCard.from_dict(wrong, "x")
