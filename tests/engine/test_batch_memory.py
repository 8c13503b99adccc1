"""A batch that cannot fit is refused before anything of it is made."""

import pytest

from src import memory
from src.config import Config
from src.engine.batch_memory import check_batch_fits, check_training_fits
from src.errors import UserError
from src.weights.model_card import ModelCard

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
    with pytest.raises(UserError, match=r"^21000 images of 3 channels and 32 x 64 pixels would take at least 1.0 GB"):
        check_batch_fits(CARD, 21_000)
    with pytest.raises(
        UserError, match="^tnt_s_patch16_224 with 20000 images of 3 channels and 32 x 64 pixels would take"
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
