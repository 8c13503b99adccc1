"""Which cells compute in half precision, and how far the logits are from float32's."""

import copy

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from src.compilation.mixed_precision import set_precision
from src.errors import UserError
from src.layers.attention import ScaledDotProductAttention
from src.layers.linear import Linear
from src.layers.norm import BatchNorm2d, LayerNorm
from src.layers.unfold import UnfoldConv2d
from src.models import create_model
from src.models.t2t_blocks import ChannelScale, Transition
from src.models.t2t_tokens import Float32Cell

T2T = {"image_size": 32, "token_dim": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
NETWORKS = {
    "tnt": (
        "tnt_ti_patch16_224",
        dict(image_size=32, depth=2, inner_dim=4, inner_num_heads=2, outer_dim=16, outer_num_heads=2, se=True),
    ),
    "pyramid": (
        "ptnt_ti_patch16_192",
        dict(
            image_size=64,
            depths=(1, 2, 1, 1),
            inner_dims=(2, 4, 4, 4),
            inner_num_heads=(1, 2, 2, 2),
            outer_dims=(8, 8, 16, 16),
            outer_num_heads=(1, 2, 2, 2),
        ),
    ),
    "t2t performer": ("t2t_vit_7", T2T),
    "t2t transformer": ("t2t_vit_t_14", T2T),
    "t2t convolution": ("t2t_vit_c_14", T2T),
    "t2t patch": ("t2t_vit_7", T2T | {"tokens_type": "patch"}),
    "t2t se": ("t2t_vit_14_se", T2T),
    "t2t ghost": ("t2t_vit_16_ghost", T2T),
    "t2t dense": ("t2t_vit_dense", {"image_size": 32}),
}


def build(kind):
    ms.set_seed(1)
    name, arguments = NETWORKS[kind]
    return create_model(name, num_classes=10, **arguments).set_train(False)


def images(net):
    return Tensor(np.random.RandomState(0).randn(4, 3, *net.image_size).astype(np.float32))


def record_types(net):
    """Runs the network; cell name -> (cell, type of its output). PyNative mode, where one can look inside."""
    types = {}

    def watch(name, cell):
        construct = cell.construct

        def watched(*args):
            result = construct(*args)
            first = result[0] if isinstance(result, tuple) else result
            types[name] = (cell, first.dtype)
            return result

        cell.construct = watched

    for name, cell in list(net.cells_and_names()):
        if name:
            watch(name, cell)
    net(images(net))
    return types


HALF = (Linear, nn.Conv2d, UnfoldConv2d, ScaledDotProductAttention, ChannelScale)
FLOAT32 = (LayerNorm, BatchNorm2d, Float32Cell, Transition)


@pytest.mark.parametrize("kind", NETWORKS)
def test_types_of_outputs(kind):
    """Also of all cells inside those that stay in float32; what blocks return are residual sums, in float32."""
    ms.set_context(mode=ms.PYNATIVE_MODE)
    net = build(kind)
    set_precision(net, "float16", "CPU")
    types = record_types(net)
    kept = [name for name, (cell, _) in types.items() if isinstance(cell, FLOAT32)]
    seen = set()
    for name, (cell, dtype) in types.items():
        is_kept = any(name == outer or name.startswith(f"{outer}.") for outer in kept)
        if is_kept or name.endswith(".dense_linear"):
            assert dtype == ms.float32, name
        elif isinstance(cell, HALF):
            assert dtype == ms.float16, name
            seen.add(type(cell))
        elif type(cell).__name__ in ("Block", "DenseBlock") and kind != "pyramid":
            assert dtype == ms.float32, name
    assert {Linear, ScaledDotProductAttention} <= seen
    assert any(isinstance(cell, LayerNorm) for cell, _ in types.values())


def test_sentences_of_pyramid_tnt_are_summed_in_float32():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    net = build("pyramid")
    set_precision(net, "float16", "CPU")
    for sentences in net.forward_stages(images(net), 4):
        assert sentences.dtype == ms.float32


def test_softmax_is_computed_in_float32():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    attention, types = ScaledDotProductAttention(2, 8), []
    del attention.softmax

    def softmax(scores):
        types.append(scores.dtype)
        return ops.softmax(scores)

    attention.softmax = softmax
    set_precision(nn.CellList([attention]), "float16", "CPU")
    x = Tensor(np.random.RandomState(0).randn(2, 5, 8).astype(np.float32))
    assert attention(x, x, x).dtype == ms.float16
    assert types == [ms.float32]


@pytest.mark.parametrize("kind", ["tnt", "pyramid", "t2t performer", "t2t ghost"])
def test_logits_are_close_to_float32s(kind):
    """Weights drawn five times as large as at the start, so that the blocks matter."""
    net = build(kind)
    for p in net.trainable_params():
        if p.ndim > 1:
            p.set_data(p * 5.0)
    x = images(net)
    ms.set_context(mode=ms.PYNATIVE_MODE)  # nothing is compiled
    expected = net(x).asnumpy()
    ms.set_context(mode=ms.GRAPH_MODE)
    half = build(kind)
    ms.load_param_into_net(half, copy.deepcopy(net.parameters_dict()))
    set_precision(half, "float16", "CPU")
    got = half(x).asnumpy().astype(np.float32)
    assert 0 < np.abs(got - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["tnt", "pyramid", "t2t performer"])
def test_parameters_stay_as_they_are(kind):
    net = build(kind)
    before = {p.name: p.asnumpy() for p in net.get_parameters()}
    set_precision(net, "float16", "CPU")
    assert {p.name: p.dtype for p in net.get_parameters()} == dict.fromkeys(before, ms.float32)
    for p in net.get_parameters():
        np.testing.assert_array_equal(p.asnumpy(), before[p.name])


def test_float32_changes_nothing():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    net = build("tnt")
    set_precision(net, "float32", "CPU")
    assert {dtype for _, dtype in record_types(net).values()} == {ms.float32}


def test_refusals():
    net = build("tnt")
    with pytest.raises(UserError, match="expected a precision of float32, float16, bfloat16, got 'half'"):
        set_precision(net, "half", "CPU")
    for device in ("CPU", "GPU"):
        with pytest.raises(UserError, match=f"no bfloat16 operators on {device}; use float16 or float32") as error:
            set_precision(net, "bfloat16", device)
    assert "\n" not in str(error.value)
    set_precision(net, "bfloat16", "Ascend")  # sets flags only
