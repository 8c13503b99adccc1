"""What is recorded is what the network computes: compiled and eager, for every kind of attention."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from src.models import create_model
from src.models.feature_extractor import FeatureExtractor
from src.visualization import taps as taps_module
from src.visualization.taps import TOKEN_LAYERS, attend, eager_mode, find_layers, noted, pool_attention, record

SIZE = (64, 96)
_T2T = {"token_dim": 4, "embed_dim": 32, "depth": 2, "num_heads": 2, "image_size": (32, 48)}
NETWORKS = {
    "tnt": ("tnt_s_patch16_224", {"depth": 2, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 12}),
    "ptnt": (
        "ptnt_s_patch16_256",
        {"depths": (1, 1, 1, 1), "inner_dims": (2, 4, 4, 4), "inner_num_heads": (1, 2, 2, 2)},
    ),
    "performer": ("t2t_vit_14", _T2T),
    "transformer": ("t2t_vit_t_14", _T2T),
    "se": ("t2t_vit_14_se", _T2T),
    "ghost": ("t2t_vit_16_ghost", _T2T),
    "dense": ("t2t_vit_dense", {"token_dim": 4, "embed_dim": 8, "growth_rate": 4, "block_config": (1, 1)}),
    "convolution": ("t2t_vit_c_14", _T2T),
}
NETWORKS["tnt"][1].update(outer_num_heads=3, inner_blocks=(1,), se=True, qkv_bias=True)
NETWORKS["ptnt"][1].update(outer_dims=(8, 12, 16, 16), outer_num_heads=(1, 2, 2, 4), qkv_bias=True)
NETWORKS["dense"][1].update(num_heads=2, image_size=(32, 48), qkv_bias=True)


def tiny(kind: str) -> nn.Cell:
    """A small network whose weights are large enough that attention is far from uniform."""
    name, arguments = NETWORKS[kind]
    net = create_model(name, **{"image_size": SIZE, "num_classes": 5, **arguments}).set_train(False)
    rng = np.random.default_rng(3)
    for parameter in net.trainable_params():
        noise = rng.standard_normal(parameter.shape) * (parameter.size / parameter.shape[0]) ** -0.5
        noise *= 0.6 if "kqv" in parameter.name else 0.9  # the performer's exponents shrink with squares
        parameter.set_data(Tensor((parameter.asnumpy() + noise).astype(np.float32)))
    return net


def images(net: nn.Cell) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 3, *net.image_size)).astype(np.float32)


@pytest.mark.parametrize("kind", ["tnt", "ptnt", "performer"])
def test_logits_are_those_of_the_compiled_network(kind):
    net = tiny(kind)
    compiled = net(Tensor(images(net))).asnumpy()
    np.testing.assert_allclose(record(net, images(net)).logits, compiled, rtol=1e-4, atol=1e-4)
    assert ms.get_context("mode") == ms.GRAPH_MODE
    assert not any(cell._forward_hook for _, cell in net.cells_and_names())


@pytest.mark.parametrize("kind", NETWORKS)
def test_tokens_are_the_stage_maps(kind):
    net = tiny(kind)
    blocks = record(net, images(net)).blocks()
    with eager_mode():
        maps = FeatureExtractor(net)(Tensor(images(net)))
    assert len(blocks) == len(maps)  # PyramidTNT's maps are those of stages, of one block each here
    for block, expected, info in zip(blocks, maps, net.feature_info, strict=True):
        np.testing.assert_allclose(block.maps(), expected.asnumpy(), rtol=1e-4, atol=1e-4)
        assert (block.tokens.shape[2], block.stride) == info


@pytest.mark.parametrize("kind", NETWORKS)
def test_weights_times_values_are_what_the_network_projects(kind):
    """Two ways to one tensor: the network's attention itself, and the weights recorded here times the values."""
    net = tiny(kind)
    cells = [c for place in find_layers(net) for c in (place.attention, place.inner_attention) if c is not None]
    taps = record(net, images(net))
    recorded = [w for layer in taps.layers for w in (layer.attention, layer.inner_attention) if w is not None]
    assert len(cells) == len(recorded) > 0
    with eager_mode(), noted(cells + [cell.proj for cell in cells]) as notes:
        net(Tensor(images(net)))
        for cell, weights in zip(cells, recorded, strict=True):
            weights = getattr(weights, "weights", weights)
            again, values = attend(cell, *notes[id(cell)][0])
            np.testing.assert_array_equal(weights.reshape(again.shape), again)
            np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-4)
            assert (weights.max(axis=-1) > 1.5 * weights.mean(axis=-1)).any()  # far from uniform
            product = (again @ values).swapaxes(1, 2)
            projected = notes[id(cell.proj)][0][0].asnumpy()
            np.testing.assert_allclose(product.reshape(projected.shape), projected, rtol=1e-3, atol=1e-4)


def test_geometry_of_tnt():
    layers = record(net := tiny("tnt"), images(net)).layers
    assert [layer.name for layer in layers] == ["block 1", "block 2"]
    assert [layer.tokens.shape for layer in layers] == [(2, 25, 12)] * 2
    attention = layers[0].attention
    assert attention.weights.shape == (2, 3, 25, 25)
    assert (attention.query_grid, attention.key_grid) == ((4, 6), (4, 6))
    assert (attention.query_stride, attention.key_stride) == (16, 16)
    assert layers[0].inner_attention.shape == (2, 24, 2, 16, 16)
    assert layers[1].inner_attention is None  # inner_blocks
    np.testing.assert_array_equal(attention.maps(1, None)[2].ravel(), attention.weights[1, 2, 0, 1:])
    assert attention.query_at(95.9, 63.9) == 23
    assert attention.query_at(16, 15) == 1
    np.testing.assert_array_equal(attention.maps(1, 7)[2].ravel(), attention.weights[1, 2, 8, 1:])


def test_geometry_of_pyramid():
    layers = record(net := tiny("ptnt"), images(net)).layers
    grids = [(layer.attention.query_grid, layer.attention.key_grid) for layer in layers]
    assert grids == [((8, 12), (2, 3)), ((4, 6), (2, 3)), ((2, 3), (2, 3)), ((1, 2), (1, 2))]
    assert [layer.attention.key_stride for layer in layers] == [32, 32, 32, 64]
    assert [layer.attention.query_stride for layer in layers] == [8, 16, 32, 64]
    assert [layer.inner_attention.shape[1] for layer in layers] == [96, 24, 6, 2]
    attention = layers[0].attention
    mean = attention.weights[0].mean(axis=1).reshape(-1, 2, 3)  # no class token: the mean of all
    np.testing.assert_allclose(attention.maps(0, None), mean)


def test_token_layers_are_pooled_where_they_are_large(monkeypatch):
    net = tiny("transformer")
    whole = record(net, images(net)).layers[0]
    assert (whole.name, whole.group) == ("token layer 1", TOKEN_LAYERS)
    assert whole.attention.weights.shape == (2, 1, 96, 96)
    monkeypatch.setattr(taps_module, "LARGEST_TOKEN_MAP", 30)
    first, second = record(net, images(net)).layers[:2]
    assert first.attention.weights.shape == (2, 1, 6, 6)
    assert (first.attention.query_grid, first.attention.query_stride) == ((2, 3), 16)
    np.testing.assert_allclose(first.attention.weights, pool_attention(whole.attention.weights, (8, 12), 4), atol=1e-6)
    assert second.attention.weights.shape == (2, 1, 24, 24)
    assert first.tokens.shape == (2, 96, 4)  # features stay as they are


def test_pool_attention():
    weights = np.zeros((1, 1, 4, 4), np.float32)  # 2 x 2 tokens
    weights[0, 0, :, 3] = 1
    assert pool_attention(weights, (2, 2), 2).tolist() == [[[[1.0]]]]
    rows = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8)  # 2 x 4 tokens, squares {0 1 4 5} and {2 3 6 7}
    pooled = pool_attention(rows, (2, 4), 2)
    assert pooled[0, 0, 0, 1] == np.mean([rows[0, 0, q, [2, 3, 6, 7]].sum() for q in (0, 1, 4, 5)])


def test_other_networks_are_refused():
    with pytest.raises(TypeError, match="expected a TNT, PyramidTNT or T2T-ViT, got Dense"):
        record(nn.Dense(2, 2), np.zeros((1, 2), np.float32))
    with pytest.raises(TypeError, match="expected an attention cell, got Dense"):
        attend(nn.Dense(2, 2), Tensor(np.zeros((1, 2), np.float32)))
