"""The factor on the loss, and when gradients count as finite."""

import numpy as np
import pytest
from mindspore import Tensor, nn

from src.optim.loss_scale import LossScale, all_finite


def history(scale, outcomes):
    """(factor, steps since it changed, skipped) after each step: '+' finite, '-' overflow."""
    states = []
    for outcome in outcomes:
        scale(Tensor(outcome == "+"))
        states.append(tuple(p.asnumpy().item() for p in (scale.scale, scale.good_steps, scale.skipped)))
    return states


def test_halves_at_an_overflow_and_doubles_after_enough_good_steps(mode):
    assert history(LossScale(8.0, growth_steps=3), "+-++++-+++") == [
        (8, 1, 0),
        (4, 0, 1),
        (4, 1, 1),
        (4, 2, 1),
        (8, 0, 1),
        (8, 1, 1),
        (4, 0, 2),
        (4, 1, 2),
        (4, 2, 2),
        (8, 0, 2),
    ]


def test_does_not_grow_beyond_the_highest(mode):
    assert [factor for factor, _, _ in history(LossScale(2.0**23, growth_steps=1), "++-")] == [2**24, 2**24, 2**23]


def test_is_exhausted_once_a_step_overflowed_with_a_factor_of_1():
    scale = LossScale(2.0)
    history(scale, "-")
    assert not scale.is_exhausted()  # now 1
    history(scale, "+")
    assert not scale.is_exhausted()
    history(scale, "-")
    assert scale.is_exhausted()


def test_state_has_names_of_its_own():
    assert [p.name for p in LossScale().get_parameters()] == ["loss_scale", "loss_scale_good_steps", "skipped_steps"]
    assert not LossScale().trainable_params()


class AllFinite(nn.Cell):
    def construct(self, *gradients):
        return all_finite(gradients)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_one_bad_number_anywhere_counts(bad, dtype):
    check = AllFinite()
    good = [np.full((2, 3), 60000, dtype), np.ones(4, dtype)]  # the sum of the first is no float16
    assert check(*map(Tensor, good)).asnumpy()
    for which, place in ((0, (1, 2)), (1, (0,))):
        gradients = [g.copy() for g in good]
        gradients[which][place] = bad
        assert not check(*map(Tensor, gradients)).asnumpy()


def test_infinities_of_both_signs_do_not_cancel(mode):
    assert not AllFinite()(Tensor(np.array([np.inf, -np.inf], np.float32))).asnumpy()
