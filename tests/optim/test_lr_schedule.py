"""The learning rate against values a reader can check."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.optim.lr_schedule import WarmupCosine, WarmupSteps

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


STEPS = {  # 4 steps an epoch, warm-up over 5 steps to 0.8, a tenth from epochs 2 and 3 on
    0: 0.0008,
    1: 0.8 * (0.001 + 0.999 / 4),
    2: 0.8 * (0.001 + 0.999 / 2),
    4: 0.8,
    7: 0.8,
    8: 0.08,
    11: 0.08,
    12: 0.008,
    500: 0.008,
}


@pytest.mark.parametrize("step,lr", STEPS.items())
def test_values_of_steps(step, lr, mode):
    schedule = WarmupSteps(0.8, steps_per_epoch=4, decay_epochs=(2, 3), warmup_steps=5)
    np.testing.assert_allclose(schedule(Tensor([step], ms.int32)).asnumpy(), [lr], rtol=1e-5)
    assert schedule.at(step) == pytest.approx(lr, rel=1e-9)


SETTINGS = [
    ({"decay_epochs": ()}, [0.8, 0.8, 0.8, 0.8]),
    ({"decay_epochs": (1,), "decay_factor": 0.5}, [0.8, 0.8, 0.4, 0.4]),
    ({"decay_epochs": (), "warmup_steps": 1}, [0.0008, 0.8, 0.8, 0.8]),
    ({"decay_epochs": (), "warmup_steps": 2}, [0.0008, 0.8, 0.8, 0.8]),
    ({"decay_epochs": (1,), "warmup_steps": 5}, [0.0008, 0.8 * 0.25075, 0.08 * 0.5005, 0.08 * 0.75025]),
]


@pytest.mark.parametrize("settings,rates", SETTINGS, ids=[str(number) for number in range(len(SETTINGS))])
def test_steps_of_other_settings(settings, rates):
    """Two steps an epoch; the last setting decays during its warm-up."""
    schedule = WarmupSteps(0.8, steps_per_epoch=2, **settings)
    for step, rate in enumerate(rates):
        np.testing.assert_allclose(schedule(Tensor([step], ms.int32)).asnumpy(), [rate], rtol=1e-5)
        assert schedule.at(step) == pytest.approx(rate, rel=1e-9)
