"""Every layer that stands in for a framework default, against NumPy."""

import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from scipy.special import log_softmax

from src.layers.activation import GELU
from src.layers.attention import ScaledDotProductAttention
from src.layers.conv import Conv2d
from src.layers.cpu_operators import native_operators
from src.layers.drop_path import DropPath, drop_path_rates
from src.layers.linear import Linear
from src.layers.log_softmax import LogSoftmax
from src.layers.norm import BatchNorm2d, LayerNorm
from src.layers.squeeze_excitation import SqueezeExcitation
from src.layers.unfold import UnfoldConv2d

RNG = np.random.RandomState(0)


def draw(*shape):
    return RNG.randn(*shape).astype(np.float32)


def test_gelu_is_exact(mode):
    x = np.linspace(-6, 6, 101, dtype=np.float32)
    expected = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x.astype(np.float64)]
    np.testing.assert_allclose(GELU()(Tensor(x)).asnumpy(), expected, atol=1e-6)


def test_layer_norm_has_pytorchs_epsilon(mode):
    x = draw(3, 5) * 1e-3  # small values, so that epsilon decides
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(LayerNorm(5)(Tensor(x)).asnumpy(), expected, atol=1e-5)


class Gradients(nn.Cell):
    """Of the sum of weights * layer(x), in x and in the layer's parameters."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        parameters = tuple(layer.trainable_params())
        self.gradients = ms.grad(self.loss, 0, parameters) if parameters else ms.grad(self.loss)

    def loss(self, x, weights):
        return (self.layer(x) * weights).sum()

    def construct(self, x, weights):
        return self.gradients(x, weights)


@pytest.mark.parametrize("shape", [(7, 12), (3, 5, 12)])
def test_layer_norm_has_one_result_in_both_forms(shape, mode):
    """Values and all gradients, of the form for CPUs and of the framework's operator."""
    ours, native = LayerNorm(12), LayerNorm(12)
    native.uses_cpu_operators = False
    assert ours.uses_cpu_operators
    for name in ("gamma", "beta"):
        value = Tensor(draw(12))
        getattr(ours, name).set_data(value)
        getattr(native, name).set_data(value)
    x, weights = Tensor(3 + 2 * draw(*shape)), Tensor(draw(*shape))
    np.testing.assert_allclose(ours(x).asnumpy(), native(x).asnumpy(), atol=2e-6)
    of_x, of_parameters = Gradients(ours)(x, weights)
    native_of_x, native_of_parameters = Gradients(native)(x, weights)
    np.testing.assert_allclose(of_x.asnumpy(), native_of_x.asnumpy(), atol=2e-6)
    for got, expected in zip(of_parameters, native_of_parameters, strict=True):
        np.testing.assert_allclose(got.asnumpy(), expected.asnumpy(), atol=1e-5)


def test_native_operators_are_for_a_while():
    net = nn.SequentialCell(LayerNorm(4), nn.SequentialCell(LayerNorm(4)))
    norms = [cell for _, cell in net.cells_and_names() if isinstance(cell, LayerNorm)]
    with native_operators(net):
        assert [norm.uses_cpu_operators for norm in norms] == [False, False]
    assert [norm.uses_cpu_operators for norm in norms] == [True, True]


def test_gelu_has_the_exact_derivative(mode):
    x = np.linspace(-6, 6, 101, dtype=np.float32)
    z = x.astype(np.float64)
    share = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in z])
    expected = share + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    got = Gradients(GELU())(Tensor(x), Tensor(np.full(101, 2.0, np.float32))).asnumpy()
    np.testing.assert_allclose(got, 2 * expected, atol=2e-6)


def test_log_softmax_of_any_size_and_its_derivative(mode):
    """Large logits of either sign, ties, and rows for which the sum of the others is lost beside the largest."""
    x = np.array([[0, 0, 0, 0], [200, 199, -500, 200], [-1e4, -1e4 - 3, -2e4, -3e4], [60, 0, 1, 2]], np.float32)
    weights, exact = draw(4, 4), log_softmax(x.astype(np.float64), axis=-1)
    np.testing.assert_allclose(LogSoftmax()(Tensor(x)).asnumpy(), exact, rtol=1e-6, atol=1e-6)
    expected = weights - np.exp(exact) * weights.sum(-1, keepdims=True)
    got = Gradients(LogSoftmax())(Tensor(x), Tensor(weights)).asnumpy()
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_gradient_of_a_bias_is_the_sum_over_rows(mode):
    linear = Linear(4, 3)
    x, weights = draw(2, 5, 4), draw(2, 5, 3)
    of_x, (of_weight, of_bias) = Gradients(linear)(Tensor(x), Tensor(weights))
    np.testing.assert_allclose(of_bias.asnumpy(), weights.sum((0, 1)), atol=1e-5)
    np.testing.assert_allclose(of_weight.asnumpy(), np.einsum("blo,bli->oi", weights, x), atol=1e-5)
    np.testing.assert_allclose(of_x.asnumpy(), weights @ linear.weight.asnumpy(), atol=1e-5)


def test_batch_norm_refuses_unknown_modes():
    with pytest.raises(ValueError, match="expected one of train, synchronized, eval, frozen, got 'on'"):
        BatchNorm2d(3, "on")


class BatchNormStep(nn.Cell):
    """Output and gradients of input, gain and bias, in training."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm
        self.gradients = ms.value_and_grad(self.loss, 0, (norm.gamma, norm.beta), has_aux=True)
        self.set_train()

    def loss(self, x, weights):
        y = self.norm(x)
        return (y * weights).sum(), y

    def construct(self, x, weights):
        return self.gradients(x, weights)


class Devices(nn.Cell):
    """Stands in for the sum over devices, all of which have the same images."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def construct(self, x):
        return x * self.number


def batch_norm(mode, devices=1):
    norm = BatchNorm2d(3, mode)
    if mode == "synchronized":
        norm.num_devices, norm.sum_over_devices = 2, Devices(devices)
    norm.gamma.set_data(Tensor([1.5, 0.5, -1.0], ms.float32))
    norm.beta.set_data(Tensor([0.1, 0.2, 0.3], ms.float32))
    norm.moving_mean.set_data(Tensor([0.5, 0.0, -0.5], ms.float32))
    return norm


def test_synchronized_batch_norm_equals_that_of_one_device(mode):
    """Output, gradients and running statistics; a mean of 100 would cost E[x^2] - E[x]^2 its digits.

    Two devices with the same images each, against one with all of them.
    """
    x, weights = draw(4, 3, 2, 5) + np.float32([0, 3, 100]).reshape(1, 3, 1, 1), draw(4, 3, 2, 5)
    twice = np.concatenate([x, x]), np.concatenate([weights, weights])
    reference, synchronized = batch_norm("train"), batch_norm("synchronized", devices=2)
    for _ in range(2):
        (_, y), (dx, (dgamma, dbeta)) = BatchNormStep(reference)(*map(Tensor, twice))
        (_, got), (got_dx, (got_dgamma, got_dbeta)) = BatchNormStep(synchronized)(Tensor(x), Tensor(weights))
        np.testing.assert_allclose(got.asnumpy(), y.asnumpy()[:4], atol=2e-5)
        np.testing.assert_allclose(got_dx.asnumpy(), dx.asnumpy()[:4], atol=2e-5)
        np.testing.assert_allclose(2 * got_dgamma.asnumpy(), dgamma.asnumpy(), atol=1e-4)
        np.testing.assert_allclose(2 * got_dbeta.asnumpy(), dbeta.asnumpy(), atol=1e-4)
        for name in ("moving_mean", "moving_variance"):
            expected = getattr(reference, name).asnumpy()
            np.testing.assert_allclose(getattr(synchronized, name).asnumpy(), expected, rtol=1e-5)


def test_synchronized_batch_norm_uses_running_statistics_in_evaluation(mode):
    x = Tensor(draw(2, 3, 2, 2))
    expected = batch_norm("train").set_train(False)(x).asnumpy()
    np.testing.assert_array_equal(batch_norm("synchronized").set_train(False)(x).asnumpy(), expected)


def test_synchronized_batch_norm_without_devices_to_share_with_is_the_plain_one():
    assert BatchNorm2d(3, "synchronized").num_devices == 1


def test_linear_starts_with_small_normal_weights_and_zero_biases():
    layer = Linear(400, 300)
    assert abs(layer.weight.asnumpy().std() - 0.02) < 1e-3
    assert not layer.bias.asnumpy().any()


def test_convolution_pads_every_side_and_has_a_bias():
    conv = Conv2d(1, 1, kernel_size=3, stride=2, padding=1)
    conv.weight.set_data(Tensor(np.ones((1, 1, 3, 3), np.float32)))
    conv.bias.set_data(Tensor([10.0], ms.float32))
    # 4 x 4 ones: windows at -1 and 1 in each direction see 2 or 3 rows and columns
    np.testing.assert_array_equal(conv(Tensor(np.ones((1, 1, 4, 4), np.float32))).asnumpy()[0, 0], [[14, 16], [16, 19]])
    assert abs(Conv2d(8, 64, 3, 1, 1).weight.asnumpy().std() - math.sqrt(2 / (9 * 64))) < 2e-3


def test_unfold_convolution_equals_the_convolution(mode):
    unfold = UnfoldConv2d(3, 5, kernel_size=7, stride=4, padding=3)
    conv = Conv2d(3, 5, kernel_size=7, stride=4, padding=3)
    conv.weight.set_data(Tensor(unfold.weight.asnumpy()))
    conv.bias.set_data(Tensor(unfold.bias.asnumpy()))
    x = Tensor(draw(2, 3, 16, 20))
    expected = conv(x).asnumpy().reshape(2, 5, -1).transpose(0, 2, 1)
    np.testing.assert_allclose(unfold(x).asnumpy(), expected, atol=1e-5)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("num_keys", [5, 1])
def test_attention(num_keys, mode):
    """Per head, with more keys than one and with one; values may be wider than keys."""
    q, k, v = draw(2, 3, 8), draw(2, num_keys, 8), draw(2, num_keys, 12)
    bias = draw(1, 2, 3, num_keys)
    got = ScaledDotProductAttention(2, 8)(Tensor(q), Tensor(k), Tensor(v), Tensor(bias)).asnumpy()
    for head in range(2):
        qh, kh, vh = q[..., 4 * head : 4 * head + 4], k[..., 4 * head : 4 * head + 4], v[..., 6 * head : 6 * head + 6]
        weights = softmax(qh @ kh.transpose(0, 2, 1) / 2.0 + bias[:, head])
        np.testing.assert_allclose(got[..., 6 * head : 6 * head + 6], weights @ vh, atol=1e-5)


def test_squeeze_excitation_gates_by_the_mean_over_tokens(mode):
    gate = SqueezeExcitation(8)
    _, first, _, second, _ = gate.fc
    for layer in (first, second):
        layer.weight.set_data(Tensor(draw(*layer.weight.shape)))
        layer.bias.set_data(Tensor(draw(*layer.bias.shape)))
    x = draw(2, 5, 8)
    mean = x.mean(axis=1, keepdims=True)
    normed = (mean - mean.mean(-1, keepdims=True)) / np.sqrt(mean.var(-1, keepdims=True) + 1e-5)
    hidden = np.maximum(normed @ first.weight.asnumpy().T + first.bias.asnumpy(), 0)
    assert hidden.shape == (2, 1, 2)
    expected = x * np.tanh(hidden @ second.weight.asnumpy().T + second.bias.asnumpy())
    # MindSpore's Tanh on CPU is off by up to 1e-4 where it saturates
    np.testing.assert_allclose(gate(Tensor(x)).asnumpy(), expected, atol=3e-4)


def test_drop_path_drops_whole_samples_and_keeps_the_mean(mode):
    drop = DropPath(0.25).set_train()
    got = drop(Tensor(np.ones((4000, 2, 3), np.float32))).asnumpy()
    per_sample = got.reshape(4000, -1)
    assert (per_sample == per_sample[:, :1]).all()
    np.testing.assert_allclose(np.unique(per_sample), [0.0, 4 / 3], rtol=1e-6)
    assert abs((per_sample[:, 0] == 0).mean() - 0.25) < 0.03


def test_drop_path_instances_draw_for_themselves(mode):
    x = Tensor(np.ones((64, 1), np.float32))
    first, second = DropPath(0.5).set_train(), DropPath(0.5).set_train()
    assert (first(x).asnumpy() != second(x).asnumpy()).any()


def test_drop_path_rates_rise_linearly():
    assert drop_path_rates(0.1, 3) == [0.0, 0.05, 0.1]
    assert drop_path_rates(0.1, 1) == [0.0]
