"""The learning rate against values a reader can check."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.optim.lr_schedule import WarmupCosine

EXPECTED = {  # 10 steps an epoch, 8 epochs of which 2 warm up: 0.1 -> 0.9, peak 0.9, end 0.1
    0: 0.1,
    9: 0.1,  # constant within an epoch
    10: 0.5,  # half way of the warm-up
    20: 0.1 + 0.4 * (1 + np.cos(np.pi / 4)),  # epoch 2 of 8: the cosine is not shifted by the warm-up
    40: 0.5,  # epoch 4 of 8: half way of the cosine
    79: 0.1 + 0.4 * (1 + np.cos(np.pi * 7 / 8)),
    80: 0.1,  # cooldown
    500: 0.1,
}


@pytest.mark.parametrize("step,lr", EXPECTED.items())
def test_values(step, lr, mode):
    schedule = WarmupCosine(0.9, steps_per_epoch=10, epochs=8, warmup_epochs=2, warmup_lr=0.1, min_lr=0.1)
    np.testing.assert_allclose(schedule(Tensor([step], ms.int32)).asnumpy(), [lr], rtol=1e-5)
    assert schedule.at(step) == pytest.approx(lr, rel=1e-9)


def test_without_warmup_the_first_epoch_has_the_peak():
    schedule = WarmupCosine(0.9, steps_per_epoch=1, epochs=8)
    assert schedule.at(0) == pytest.approx(0.9)
    np.testing.assert_allclose(schedule(Tensor([0], ms.int32)).asnumpy(), [0.9], rtol=1e-6)
