"""Token layers of T2T-ViT: soft splits, performer and convolutions against plain NumPy; float32 whatever the rest."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import amp, nn

from src.engine.train_step import TrainStep
from src.models.t2t_tokens import ConvolutionTokens, Float32Cell, TokenPerformer, TokensToToken
from src.models.t2t_vit import T2TViT
from src.optim.optimizer import AdamW, decay_groups
from src.tasks.classification import ClassificationLoss

TINY = {"image_size": 32, "num_classes": 5, "token_dim": 16, "embed_dim": 16, "depth": 1, "num_heads": 2}


def draw(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.RandomState(sum(shape)).randn(*shape)).astype(np.float32)


def windows(x: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
    """(channels, H, W) -> (T, channels * kernel * kernel), by loops."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    rows, columns = ((side - kernel) // stride + 1 for side in x.shape[1:])
    return np.stack(
        [
            x[:, stride * r : stride * r + kernel, stride * c : stride * c + kernel].ravel()
            for r in range(rows)
            for c in range(columns)
        ]
    )


class FirstChannels(nn.Cell):
    """Stands in for a token layer: keeps the first channels of each window."""

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def construct(self, x):
        return x[:, :, : self.dim]


def test_soft_splits_of_a_rectangle(mode):
    tokens = TokensToToken(FirstChannels(4), FirstChannels(4), token_dim=4, embed_dim=8, image_size=(32, 64))
    image = draw(3, 32, 64)
    x = windows(image, 7, 4, 2)[:, :4].T.reshape(4, 8, 16)
    x = windows(x, 3, 2, 1)[:, :4].T.reshape(4, 4, 8)
    expected = windows(x, 3, 2, 1) @ tokens.project.weight.asnumpy().T  # 2 x 4 tokens
    got = tokens(ms.Tensor(image[None])).asnumpy()
    assert got.shape == (1, 8, 8)
    np.testing.assert_allclose(got[0], expected, atol=1e-6)


def test_convolution_tokens_are_three_plain_convolutions(mode):
    """Paper Table 7's T2T-ViT_c, for which the authors' code gives no reference values."""
    tokens = ConvolutionTokens(in_channels=3, token_dim=4, embed_dim=8, image_size=(32, 64))
    x = draw(3, 32, 64)
    for layer, split in ((tokens.soft_split0, (7, 4, 2)), (tokens.soft_split1, (3, 2, 1)), (tokens.project, (3, 2, 1))):
        weight, bias = layer.weight.asnumpy(), layer.bias.asnumpy()
        assert weight.shape == (bias.size, x.shape[0], split[0], split[0])
        columns = windows(x, *split) @ weight.reshape(bias.size, -1).T + bias
        rows = {7: 8, 3: x.shape[1] // 2}[split[0]]
        x = columns.T.reshape(bias.size, rows, 2 * rows)
    got = tokens(ms.Tensor(draw(3, 32, 64)[None])).asnumpy()
    np.testing.assert_allclose(got[0], columns, atol=1e-5)


def test_random_features_are_orthogonal_and_frozen():
    layer = TokenPerformer(in_dim=147, dim=64, drop_rate=0.1)
    w = layer.w.asnumpy()
    np.testing.assert_allclose(w @ w.T, 32 * np.eye(32), atol=1e-4)  # rows of norm sqrt(32) = 5.657
    assert not layer.w.requires_grad


class Zero(nn.Cell):
    """Stands in for an MLP."""

    def construct(self, x):
        return ms.ops.zeros_like(x)


def test_performer_approximates_softmax_attention():
    """With very many random features the layer adds softmax(q k^T) v to v: no scale, and keys before queries."""
    ms.set_context(mode=ms.PYNATIVE_MODE)
    dim, num_features = 8, 100_000
    layer = TokenPerformer(in_dim=3 * dim, dim=dim, drop_rate=0.0)
    layer.num_features = num_features
    layer.w = ms.Parameter(draw(num_features, dim), requires_grad=False)
    layer.norm1, layer.kqv, layer.proj, layer.mlp = nn.Identity(), nn.Identity(), nn.Identity(), Zero()
    kqv = draw(1, 6, 3 * dim, scale=0.5)
    k, q, v = np.split(kqv[0], 3, axis=1)
    scores = np.exp(q @ k.T)
    expected = v + scores / scores.sum(axis=1, keepdims=True) @ v
    np.testing.assert_allclose(layer(ms.Tensor(kqv)).asnumpy()[0], expected, atol=0.05)


def test_performer_dropout_is_its_own_and_acts_in_training_only():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    images = ms.Tensor(draw(2, 3, 32, 32))

    def tokens(training: bool, **arguments) -> np.ndarray:
        ms.set_seed(1)
        net = T2TViT(**TINY, **arguments)  # every other rate is 0
        return net.set_train(training).tokens_to_token(images).asnumpy()

    exact = tokens(False)
    assert np.abs(tokens(True) - exact).max() > 0.01 * np.abs(exact).max()
    np.testing.assert_array_equal(tokens(True, token_drop_rate=0.0), exact)
    np.testing.assert_array_equal(tokens(True, tokens_type="transformer"), tokens(False, tokens_type="transformer"))


def half(net: nn.Cell, how: str) -> nn.Cell:
    """`net` in float16, by one of MindSpore's ways."""
    if how == "to_float":
        return net.to_float(ms.float16)
    return amp.custom_mixed_precision(net, black_list=[*amp.get_black_list(), Float32Cell])


@pytest.mark.parametrize("how", ["to_float", "custom_mixed_precision"])
@pytest.mark.parametrize("tokens_type", ["performer", "transformer"])
def test_tokens_are_those_of_float32_in_a_half_precision_network(tokens_type, how, mode):
    images = ms.Tensor(draw(2, 3, 32, 32).astype(np.float16).astype(np.float32))

    def build() -> T2TViT:
        ms.set_seed(1)
        return T2TViT(**TINY, tokens_type=tokens_type).set_train(False)

    tokens = build().tokens_to_token(images).asnumpy()
    net = build()
    half(net, how)
    again = net.tokens_to_token(images).asnumpy()
    assert tokens.dtype == np.float32
    np.testing.assert_array_equal(again, tokens.astype(again.dtype))


def test_performer_stays_finite_in_half_precision_training():
    """Keys and queries whose squared norm overflows half precision, on which the original reports NaN."""
    net = T2TViT(**TINY)
    for layer in (net.tokens_to_token.attention1, net.tokens_to_token.attention2):
        layer.kqv.weight.set_data(ms.Tensor(draw(*layer.kqv.weight.shape, scale=20.0)))
        kqv = layer.kqv(ms.Tensor(draw(1, 4, layer.kqv.in_channels))).asnumpy()
        assert np.square(kqv[..., :16]).sum(axis=-1).min() > 2 * np.finfo(np.float16).max
    optimizer = AdamW(decay_groups(net, 0.05), 1e-3)
    step = TrainStep(ClassificationLoss(half(net, "to_float")), optimizer, batch_size=2)
    labels = ms.Tensor(np.array([1, 2], np.int32))
    for seed in range(3):
        images = ms.Tensor(np.random.RandomState(seed).randn(2, 3, 32, 32).astype(np.float32))
        assert np.isfinite(step(images, labels).asnumpy())
    for parameter in optimizer.parameters:
        assert np.isfinite(parameter.asnumpy()).all(), parameter.name
