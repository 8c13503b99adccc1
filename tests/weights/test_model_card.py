"""A card whose values cannot be used does not come into being."""

import json
from dataclasses import asdict, replace

import pytest

from src.errors import UserError
from src.weights.described_network import check_card
from src.weights.model_card import ModelCard

CARD = ModelCard(
    "tnt_ti_patch16_224", {"depth": 1, "qkv_bias": False}, ["a", "狗"], (32, 48), 2, (0.5, 0), (1, 0.5), 0.9, "as it is"
)
NAN, INFINITE, HUGE = float("nan"), float("inf"), 10**5000

WRONG = {
    "model": [None, 5, [], {}, "", "tnt", "tnt_ti_patch16_22\n"],
    "arguments": [
        None, [], "depth", {"dept": 1}, {"depth": 2**40}, {"depth": HUGE}, {"depth": "many"}, {"depth": -1},
        {"outer_num_heads": 0}, {"num_classes": 3}, {"image_size": 32}, {"in_channels": 3}, {"self": 1},
        {"mlp_ratio": NAN}, {"depth": [[[]]]},
    ],
    "classes": [None, "ab", ["a", 5], ["a", None], {"a": 1}, ["a" * 1001], ["a" * 1000] * 8001, ["a"] * 1_000_001],
    "image_size": [
        None, 32, [], [32], [32, 32, 32], [0, 32], [-1, 32], [32, 16385], [32, 1e6], [32.0, 32], [True, 32], ["32", 32],
        [HUGE, 1], {"32": 32},
    ],
    "in_channels": [None, 0, -1, 1025, 2.0, True, "2", [2], HUGE],
    "mean": [None, 0.5, [], [0.5], [0.5] * 3, [0.5, NAN], [0.5, INFINITE], [0.5, HUGE], [0.5, "0"], [0.5, True], {}],
    "std": [None, [1], [1, 0], [1, -1], [1, NAN], [1, INFINITE], [1, 1e-7], [1, HUGE], [1, None]],
    "crop_pct": [None, 0, 1e-9, -1, 1.01, NAN, HUGE, "0.9", True, [0.9]],
    "resize": [None, 5, [], "a" * 1001],
}  # fmt: skip


def test_round_trip():
    assert ModelCard.from_dict(json.loads(json.dumps(CARD.to_dict())), "x") == CARD
    shorter = {name: value for name, value in CARD.to_dict().items() if name != "resize"}
    assert ModelCard.from_dict(shorter, "x").resize.startswith("scaled to cover")


def test_limits_are_inside():
    replace(CARD, classes=[], image_size=(16, 16384), in_channels=1024, mean=(1000,) * 1024, std=(1e-6,) * 1024)
    replace(CARD, classes=["a" * 1000] * 8000, crop_pct=1, resize="")
    replace(CARD, classes=[""] * 1_000_000, crop_pct=0.1, arguments={})


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_named(name):
    for value in WRONG[name]:
        with pytest.raises(UserError) as found:
            check_card(ModelCard.from_dict({**CARD.to_dict(), name: value}, "x.ckpt"), "x.ckpt")
        message = str(found.value)
        assert message.startswith("x.ckpt: its description of the network cannot be used: ")
        assert "\n" not in message and len(message) < 800
        expected = {"arguments": "", "model": "model", "classes": "class"}.get(name, name)
        assert expected in message.partition("cannot be used: ")[2]


def test_wrong_values_have_no_card_at_all():
    with pytest.raises(UserError, match="^std: expected for each channel a number from 1e-06 to 1000, got "):
        replace(CARD, std=(1, 0))
    with pytest.raises(UserError, match="^mean: expected 2 numbers, one for each channel, got 3$"):
        replace(CARD, mean=(0, 0, 0))


def test_names():
    values = asdict(CARD)
    for wrong, reason in (
        (None, "expected names and values, got None"),
        ([], r"expected names and values, got \[\]"),
        ({}, "expected model, which is missing"),
        ({k: v for k, v in values.items() if k != "std"}, "expected std, which is missing"),
        ({**values, "croppct": 1}, "unknown 'croppct'; did you mean crop_pct"),
        ({**values, "a\nb" * 1000: 1}, "unknown .*; known: model, arguments, classes"),
    ):
        with pytest.raises(UserError, match=f"^x: its description of the network cannot be used: {reason}"):
            ModelCard.from_dict(wrong, "x")
