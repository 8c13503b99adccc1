"""Masks that are computed together equal those that each layer computes by itself."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from src.layers.drop_path import DropPath
from src.layers.dropout import Dropout
from src.layers.random_mask import mask_state, number_masks
from src.layers.step_masks import StepMasks

SIZE = 6


class Layers(nn.Cell):
    """Stochastic depth with one and with three rows an image, and one of rate 0 and a dropout between them."""

    def __init__(self):
        super().__init__()
        self.layers = nn.CellList([DropPath(0.5), DropPath(0.4, 3), DropPath(0.0), Dropout(0.3), DropPath(0.6, 3)])
        self.set_train()

    def construct(self):
        ones = [ops.ones((SIZE * per_image, 2), ms.float32) for per_image in (1, 3, 1, 1, 3)]
        masks = ()
        for index in range(5):
            masks = masks + (self.layers[index](ones[index]),)
        return masks


@pytest.fixture(autouse=True)
def state_of_one_part():
    yield
    ops.assign(mask_state, Tensor(np.array([0, 0, 1, 1], np.int32)))


@pytest.mark.parametrize("num_parts", [1, 3])
def test_equal_those_of_the_layers(num_parts, mode):
    each, together = Layers(), Layers()
    number_masks(each)
    masks = StepMasks(together, SIZE, num_parts)
    for key, part in ((4711, 0), (-5, num_parts - 1)):
        ops.assign(mask_state, Tensor(np.array([key, part, num_parts, SIZE], np.int32)))
        expected = [x.asnumpy() for x in each()]
        masks(Tensor(key, ms.int32), Tensor(part, ms.int32))
        for got, value in zip(together(), expected, strict=True):
            np.testing.assert_allclose(got.asnumpy(), value, rtol=1e-6)
        assert mask_state.asnumpy().tolist() == [key, part, num_parts, SIZE]
    assert (expected[1] == 0).any() and (expected[4] == 0).any()


def test_masks_are_no_parameters_of_the_network():
    """They are not to be saved, nor counted."""
    net = Layers()
    masks = StepMasks(net, SIZE, 1)
    assert list(net.get_parameters()) == [] and list(masks.get_parameters()) == []
