"""How many images go into a step."""

import pytest

from src.errors import UserError
from src.prediction.open_classifier import OpenClassifier
from src.weights.model_card import ModelCard

CARD = ModelCard("tnt_ti_patch16_224", {}, ["a", "b"], (32, 32), 3, (0.5,) * 3, (0.5,) * 3, 0.9)


def test_batch_size():
    free, fixed = OpenClassifier(None, CARD), OpenClassifier(None, CARD, fixed_batch_size=4)
    assert [free.batch_size(None, 3), free.batch_size(None, 100), free.batch_size(8, 100)] == [3, 16, 8]
    assert [fixed.batch_size(None, 3), fixed.batch_size(None, 100), fixed.batch_size(4, 1)] == [4, 4, 4]
    with pytest.raises(UserError, match="the model file takes 4 images at a time, got 2"):
        fixed.batch_size(2, 3)
    with pytest.raises(UserError, match="expected at least 1, got 0"):
        free.batch_size(0, 3)


def test_a_batch_that_cannot_fit(monkeypatch):
    monkeypatch.setattr("src.memory.machine_memory", lambda: 10**9)
    with pytest.raises(UserError, match="^50,000 images of 3 channels and 32 x 32 pixels would take at least 1.2 GB"):
        OpenClassifier(None, CARD, fixed_batch_size=50_000).batch_size(None, 1)
    assert OpenClassifier(None, CARD).batch_size(50_000, 3) == 3
