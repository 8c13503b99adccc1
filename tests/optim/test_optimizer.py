"""AdamW, decay groups and clipping against NumPy."""

import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from src.models import create_model
from src.optim.optimizer import SGD, AdamW, ClipByGlobalNorm, decay_groups


class Net(nn.Cell):
    """A decayed matrix, and a bias that is not decayed."""

    def __init__(self):
        super().__init__()
        self.weight = Parameter(Tensor(np.array([[1.0, -2.0], [3.0, 0.5]], np.float32)), name="weight")
        self.bias = Parameter(Tensor(np.array([0.5, -1.0], np.float32)), name="bias")

    def no_weight_decay(self):
        return set()


class Update(nn.Cell):
    def __init__(self, optimizer):
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer

    def construct(self, *gradients):
        return self.optimizer(gradients)


def adamw(p, gradients, lr, decay, beta1=0.9, beta2=0.999, eps=1e-8):
    """Loshchilov and Hutter, algorithm 2, in float64."""
    p, m, v = p.astype(np.float64), 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        p = p * (1 - lr * decay) - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return p


def test_steps_equal_the_published_algorithm(mode):
    net = Net()
    start = [p.asnumpy().copy() for p in net.trainable_params()]
    update = Update(AdamW(decay_groups(net, 0.5), 0.1))
    rng = np.random.RandomState(0)
    gradients = [[rng.randn(*p.shape).astype(np.float32) * 10.0**-i for p in start] for i in range(4)]
    for pair in gradients:
        update(*[Tensor(g) for g in pair])
    for i, (p, decay) in enumerate(zip(net.trainable_params(), (0.5, 0.0), strict=True)):
        expected = adamw(start[i], [pair[i] for pair in gradients], 0.1, decay)
        np.testing.assert_allclose(p.asnumpy(), expected, rtol=2e-6, err_msg=p.name)


def test_epsilon_is_added_after_bias_correction():
    """With a gradient as small as epsilon the first step is lr / 2; before bias correction it would be lr * 0.031."""
    net = Net()
    update = Update(AdamW([net.bias], 0.1))
    update(Tensor(np.full(2, 1e-8, np.float32)))
    np.testing.assert_allclose(net.bias.asnumpy(), np.array([0.5, -1.0]) - 0.05, rtol=1e-4)


def test_learning_rate_scales():
    net = Net()
    optimizer = AdamW(decay_groups(net, 0.0), 0.1, lr_scales={"bias": 0.1})
    Update(optimizer)(Tensor(np.ones((2, 2), np.float32)), Tensor(np.ones(2, np.float32)))
    np.testing.assert_allclose(net.weight.asnumpy(), [[0.9, -2.1], [2.9, 0.4]], rtol=1e-5)
    np.testing.assert_allclose(net.bias.asnumpy(), [0.49, -1.01], rtol=1e-5)


def test_sgd_steps_equal_pytorchs_rule(mode):
    """v = momentum v + g + decay p; p = p - lr v, the scale on lr."""
    net = Net()
    p, v = net.weight.asnumpy().astype(np.float64), 0.0
    update = Update(SGD([net.weight], 0.1, weight_decay=0.5, momentum=0.8, lr_scales={"weight": 0.5}))
    for i in range(3):
        g = np.random.RandomState(i).randn(2, 2).astype(np.float32)
        update(Tensor(g))
        v = 0.8 * v + g + 0.5 * p
        p = p - 0.05 * v
    np.testing.assert_allclose(net.weight.asnumpy(), p, rtol=1e-5)


def test_decay_groups_are_the_authors():
    tnt = create_model("tnt_ti_patch16_224", depth=1, image_size=32)
    decayed, exempt = decay_groups(tnt, 0.05)
    assert decayed["weight_decay"] == 0.05 and exempt["weight_decay"] == 0.0
    exempt_names = {p.name for p in exempt["params"]}
    assert {"outer_pos", "inner_pos", "cls_token", "norm.gamma", "blocks.0.outer_mlp.fc1.bias"} <= exempt_names
    assert {"blocks.0.outer_mlp.fc1.weight", "patch_embed.proj.weight"} <= {p.name for p in decayed["params"]}
    pyramid = create_model("ptnt_ti_patch16_192", image_size=32)
    decayed = {p.name for p in decay_groups(pyramid, 0.05)[0]["params"]}
    assert "stages.0.relative_pos" in decayed and "outer_pos" not in decayed


@pytest.mark.parametrize("max_norm,factor", [(2.5, 0.5), (10.0, 1.0)])
def test_clipping_scales_all_gradients_together(max_norm, factor, mode):
    """A 3-4-5 triangle over two tensors."""
    a, b = np.array([3.0, 0.0], np.float32), np.array([[0.0], [4.0]], np.float32)
    clipped = ClipByGlobalNorm(max_norm)((Tensor(a), Tensor(b)))
    np.testing.assert_allclose(clipped[0].asnumpy(), a * factor, rtol=1e-5)
    np.testing.assert_allclose(clipped[1].asnumpy(), b * factor, rtol=1e-5)
