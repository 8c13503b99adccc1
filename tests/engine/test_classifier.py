"""How many images go into a step."""

import pytest

from src.engine.classifier import Classifier
from src.errors import UserError


def test_batch_size():
    free, fixed = Classifier(None, None), Classifier(None, None, fixed_batch_size=4)
    assert [free.batch_size(None, 3), free.batch_size(None, 100), free.batch_size(8, 100)] == [3, 16, 8]
    assert [fixed.batch_size(None, 3), fixed.batch_size(None, 100), fixed.batch_size(4, 1)] == [4, 4, 4]
    with pytest.raises(UserError, match="the model file takes 4 images at a time, got 2"):
        fixed.batch_size(2, 3)
    with pytest.raises(UserError, match="expected at least 1, got 0"):
        free.batch_size(0, 3)
