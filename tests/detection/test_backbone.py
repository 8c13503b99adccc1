"""PyramidTNT on a canvas: tables of another size, both orientations of one set of weights."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from src.detection.backbone import Backbone
from src.layers.attention import ScaledDotProductAttention
from src.models.pyramid_tnt import PyramidTNT
from tests.tiny_detectors import TINY_BACKBONE

pytestmark = pytest.mark.usefixtures("equal_graphs")

CANVAS, TABLE = (96, 160), (64, 96)
SIZES = [(12, 20), (6, 10), (3, 5), (2, 3)]


def images(size, seed=0):
    return Tensor(np.random.default_rng(seed).normal(size=(2, 3, *size)).astype(np.float32))


class Detector(nn.Cell):
    """Only a backbone, under the name that it has in detectors."""

    def __init__(self, canvas=CANVAS, final_norm=False, **arguments):
        super().__init__()
        self.backbone = Backbone(canvas, final_norm, **arguments, **TINY_BACKBONE).set_train(False)

    def construct(self, x):
        return self.backbone.canvas_maps(x)

    def weights(self):
        return {p.name.removeprefix("backbone."): p.asnumpy().copy() for p in self.get_parameters()}

    def load(self, weights):
        for parameter in self.get_parameters():
            parameter.set_data(Tensor(weights[parameter.name.removeprefix("backbone.")]))
        return self

    def maps(self, x):
        return [found.asnumpy() for found in self(x)]


class SumOfSquares(nn.Cell):
    """Of the last map."""

    def __init__(self, net):
        super().__init__(auto_prefix=False)
        self.net = net

    def construct(self, x):
        last = self.net(x)[3]
        return (last * last).sum()


@pytest.mark.parametrize("canvas", [CANVAS, CANVAS[::-1]])
def test_tables_are_brought_to_the_canvas_as_on_the_host(canvas):
    net, host = Detector(table_size=TABLE), Detector(canvas)
    weights = net.weights()
    for name, resize in host.backbone.table_resizers(TABLE).items():
        weights[name] = resize(weights[name])
    x = images(canvas)
    in_graph = net.maps(x)
    ms.set_context(mode=ms.PYNATIVE_MODE)  # nothing is compiled
    for one, other in zip(in_graph, host.load(weights).maps(x), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_tables_matter():
    """What the test above compares would differ with other tables."""
    ms.set_context(mode=ms.PYNATIVE_MODE)  # nothing is compiled
    net, x = Detector(table_size=TABLE), images(CANVAS)
    weights, before = net.weights(), net.maps(x)
    for name in ("outer_pos", "stages.0.relative_pos"):
        axis = 1 if name == "outer_pos" else 2
        after = net.load({**weights, name: np.flip(weights[name], axis).copy()}).maps(x)
        assert np.abs(after[0] - before[0]).max() > 1e-3, name


def test_both_orientations_have_the_same_parameters():
    """Under the names of PyramidTNT without head."""
    net = Detector(table_size=TABLE)
    names = [p.name for p in net.get_parameters()]
    plain = PyramidTNT(CANVAS, num_classes=0, table_size=TABLE, **TINY_BACKBONE)
    assert names == [f"backbone.{p.name}" for p in plain.get_parameters()] and len(names) == len(set(names))
    assert {id(p) for p in net.backbone.portrait.get_parameters()} == {id(p) for p in net.get_parameters()}
    assert [len(stage) for stage in net.backbone.block_stages()] == [1] * 8
    assert Detector((64, 64)).backbone.portrait is None


def test_names_of_a_backbone_alone():
    net = Backbone(CANVAS, table_size=TABLE, **TINY_BACKBONE)
    plain = PyramidTNT(CANVAS, num_classes=0, table_size=TABLE, **TINY_BACKBONE)
    assert [p.name for p in net.get_parameters()] == [p.name for p in plain.get_parameters()]


@pytest.mark.parametrize("final_norm", [False, True])
def test_maps_of_both_orientations(final_norm):
    ms.set_context(mode=ms.PYNATIVE_MODE)  # nothing is compiled
    net = Detector(final_norm=final_norm, table_size=TABLE)
    for turn in (1, -1):
        found = net.maps(images(CANVAS[::turn]))
        assert [x.shape for x in found] == [(2, 8, *size[::turn]) for size in SIZES]
        assert all(np.isfinite(x).all() for x in found)
        assert np.allclose(found[3].mean(axis=1), 0, atol=1e-4) == final_norm


def test_both_orientations_learn():
    ms.set_context(mode=ms.PYNATIVE_MODE)  # nothing is compiled
    net = Detector(table_size=TABLE)
    parameters = ms.ParameterTuple(list(net.trainable_params()))
    gradient = ms.grad(SumOfSquares(net), None, parameters)
    for turn in (1, -1):
        gradients = gradient(images(CANVAS[::turn]))
        found = {p.name: np.abs(g.asnumpy()).max() for p, g in zip(parameters, gradients, strict=True)}
        for name in ("outer_pos", "inner_pos", "stages.0.relative_pos", "patch_embed.common_conv.0.weight"):
            assert found[f"backbone.{name}"] > 0, name


def test_stages_without_the_bias():
    ms.set_context(mode=ms.PYNATIVE_MODE)  # nothing is compiled
    net, x = Detector(table_size=TABLE, relative_pos=(True, False, False, True)), images(CANVAS)
    weights, before = net.weights(), net.maps(x)
    unused = {f"stages.{i}.relative_pos": weights[f"stages.{i}.relative_pos"] * 0 for i in (1, 2)}
    for one, other in zip(net.load({**weights, **unused}).maps(x), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [m.shape[2:] for m in net.maps(images(CANVAS[::-1]))] == [size[::-1] for size in SIZES]
    after = Detector(table_size=TABLE).load(weights).maps(x)
    np.testing.assert_array_equal(after[0], before[0])
    assert np.abs(after[1] - before[1]).max() > 1e-3


def test_a_bias_of_low_rank_is_its_product(mode):
    draw = np.random.default_rng(3)
    q, k, v, left, right = (
        draw.normal(size=size).astype(np.float32)
        for size in ((2, 6, 8), (2, 5, 8), (2, 5, 8), (1, 2, 6, 3), (1, 2, 3, 5))
    )
    cell = ScaledDotProductAttention(2, 8)
    inputs = [Tensor(x) for x in (q, k, v)]
    low = cell(*inputs, (Tensor(left), Tensor(right))).asnumpy()
    full = cell(*inputs, Tensor(left @ right)).asnumpy()
    np.testing.assert_allclose(low, full, atol=1e-5)
    assert np.abs(full - cell(*inputs).asnumpy()).max() > 0.01
