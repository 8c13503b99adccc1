"""The feature pyramid with weights that let a reader follow a value through it."""

import numpy as np
import pytest
from mindspore import Tensor

from src.detection.fpn import FPN
from src.errors import UserError


def maps(*values):
    """Of one channel and sides of 8, 4, 2 ... pixels, each of one value."""
    return tuple(Tensor(np.full((1, 1, 8 >> i, 8 >> i), value, np.float32)) for i, value in enumerate(values))


def passing(**settings):
    """A pyramid of one channel whose convolutions hand on the value in the middle of their window."""
    net = FPN([1, 1, 1], 1, **settings)
    for name, parameter in net.parameters_and_names():
        weight = np.zeros(parameter.shape, np.float32)
        if name.endswith("weight"):
            weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2] = 1
        parameter.set_data(Tensor(weight))
    return net


def constants(outputs):
    """Side and value of each map, which must be of one value."""
    found = [x.asnumpy() for x in outputs]
    assert all(x.min() == x.max() for x in found)
    return [(x.shape[2], x.max()) for x in found]


def test_finer_maps_add_the_coarser_ones(mode):
    assert constants(passing(num_outs=3)(maps(1, 10, 100))) == [(8, 111), (4, 110), (2, 100)]


@pytest.mark.parametrize("extra_maps", ["pool", "on_input", "on_output"])
def test_extra_maps_are_halves_rounded_up(extra_maps):
    found = constants(passing(num_outs=5, extra_maps=extra_maps)(maps(1, 10, 100)))
    assert found == [(8, 111), (4, 110), (2, 100), (1, 100), (1, 100)]


def test_the_first_extra_map_is_of_the_last_map_that_comes_in_or_goes_out():
    for extra_maps, value in (("on_input", 100), ("on_output", 105), ("pool", 105)):
        net = passing(num_outs=4, extra_maps=extra_maps)
        net.lateral_convs[2].conv.bias.set_data(Tensor(np.array([5], np.float32)))
        assert constants(net(maps(1, 10, 100)))[3] == (1, value)


def test_maps_before_the_first_level_are_not_used():
    net = passing(start_level=1, num_outs=2)
    assert constants(net(maps(float("nan"), 10, 100))) == [(4, 110), (2, 100)]
    assert len(net.lateral_convs) == len(net.fpn_convs) == 2


def test_wrong_arguments_are_named():
    with pytest.raises(UserError, match="^extra_maps: expected one of pool, on_input, on_output, got 'conv'$"):
        FPN([1, 1], 1, extra_maps="conv")
    with pytest.raises(UserError, match="^num_outs: expected at least 2, a map for each that comes in, got 1$"):
        FPN([1, 1], 1, num_outs=1)
