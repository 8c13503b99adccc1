"""Weights of one image size in a network for another: which tables change, how, and which do not."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from src.errors import UserError
from src.layers.pos_embed import resize_grid, resize_relative_pos
from src.layers.sinusoid import sinusoid_table
from src.models import create_model
from src.weights.author_names import load_reference_weights, reference_weights
from src.weights.checkpoint import read_checkpoint, save_checkpoint
from src.weights.model_card import ModelCard
from src.weights.resize_weights import resize_weights

TINY = {
    "tnt_s_patch16_224": {"depth": 1, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 8, "outer_num_heads": 2},
    "ptnt_s_patch16_256": {
        "depths": (1, 1, 1, 1),
        "inner_dims": (2, 2, 2, 2),
        "inner_num_heads": (1, 1, 1, 1),
        "outer_dims": (8, 8, 8, 8),
        "outer_num_heads": (1, 2, 2, 2),
    },
    "t2t_vit_14": {"depth": 1, "embed_dim": 8, "num_heads": 2, "token_dim": 4},
}


def tiny(name: str, image_size: tuple[int, int]) -> nn.Cell:
    return create_model(name, **TINY[name], num_classes=3, image_size=image_size).set_train(False)


def resized(name: str, old: tuple[int, int], new: tuple[int, int], **tables: np.ndarray):
    """Tables after the change from `old` to `new`, and the old shapes of those that were replaced."""
    weights = reference_weights(tiny(name, old)) | tables
    net = tiny(name, new)
    after, shapes = resize_weights(net, weights, old)
    load_reference_weights(net, after)  # strict
    for key in weights.keys() - shapes.keys():
        assert after[key] is weights[key], key
    assert shapes == {key: weights[key].shape for key in shapes}
    images = np.random.default_rng(1).standard_normal((2, 3, *new), dtype=np.float32)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    assert np.isfinite(net(Tensor(images)).asnumpy()).all()
    return after, shapes


def test_tnt_keeps_class_token_and_words():
    """A table that tells its row in channel 0 and its column in channel 1: 2 x 4 sentences become 4 x 3."""
    table = np.zeros((1, 9, 8), np.float32)
    table[0, 0] = 7  # the class token
    table[0, 1:, 0] = [0, 0, 0, 0, 1, 1, 1, 1]
    table[0, 1:, 1] = [0, 1, 2, 3, 0, 1, 2, 3]
    after, shapes = resized("tnt_s_patch16_224", (32, 64), (64, 48), outer_pos=table)
    assert shapes == {"outer_pos": (1, 9, 8), "outer_tokens": (1, 8, 8)}
    grid = after["outer_pos"][0, 1:].reshape(4, 3, 8)
    np.testing.assert_array_equal(after["outer_pos"][0, 0], 7)
    rows = [-0.10546875, 0.2265625, 0.7734375, 1.10546875]  # worked out in tests/layers/test_pos_embed.py
    np.testing.assert_allclose(grid[:, :, 0], np.repeat(rows, 3).reshape(4, 3), atol=1e-6)
    assert np.all(np.diff(grid[:, :, 1], axis=1) > 0.5) and np.allclose(np.diff(grid[:, :, 1], axis=0), 0)
    np.testing.assert_array_equal(grid[:, :, 2:], 0)


def test_unused_tokens_become_zeros():
    tokens = np.ones((1, 4, 8), np.float32)
    after, _ = resized("tnt_s_patch16_224", (32, 32), (48, 48), outer_tokens=tokens)
    np.testing.assert_array_equal(after["outer_tokens"], np.zeros((1, 9, 8), np.float32))


@pytest.mark.parametrize(
    "old,new",
    [
        ((64, 64), (96, 96)),  # the later stages: 4, 2, 1 -> 6, 3, 2
        ((192, 192), (224, 224)),  # 24, 12, 6, 3 -> 28, 14, 7, 4
        ((64, 128), (96, 64)),
    ],
)
def test_pyramid_tnt_resizes_every_stage(old, new):
    """The bias b(query, key) = f(query) g(key) becomes the product of both factors, resized each over its own grid."""
    rng = np.random.default_rng(2)
    tables, expected = {}, {}
    for stage, (ratio, heads) in enumerate(zip((4, 2, 1, 1), (1, 2, 2, 2), strict=True)):
        factors = {}
        for size in (old, new):
            queries = tuple(-(-(side // 8) // 2**stage) for side in size)
            factors[size] = (queries, tuple(side // ratio for side in queries))
        query = rng.standard_normal((*factors[old][0], heads))
        key = rng.standard_normal((*factors[old][1], heads))
        name = f"stages.{stage}.relative_pos"
        tables[name] = np.einsum("ijn,kln->nijkl", query, key).astype(np.float32)
        tables[name] = tables[name].reshape(1, heads, factors[old][0][0] * factors[old][0][1], -1)
        query, key = resize_grid(query, factors[new][0]), resize_grid(key, factors[new][1])
        expected[name] = np.einsum("ijn,kln->nijkl", query, key).reshape(1, heads, query.shape[0] * query.shape[1], -1)
    table = rng.standard_normal((1, old[0] * old[1] // 64, 8)).astype(np.float32)
    after, shapes = resized("ptnt_s_patch16_256", old, new, outer_pos=table, **tables)
    assert set(shapes) == {"outer_pos", *tables}
    for name, values in expected.items():
        np.testing.assert_allclose(after[name], values, atol=1e-4, err_msg=name)
    grid = resize_grid(table.reshape(old[0] // 8, old[1] // 8, 8), (new[0] // 8, new[1] // 8))
    np.testing.assert_array_equal(after["outer_pos"], grid.reshape(1, -1, 8))


def test_t2t_vit_computes_its_table_anew():
    after, shapes = resized("t2t_vit_14", (32, 32), (64, 48))
    assert set(shapes) == {"pos_embed"}
    np.testing.assert_array_equal(after["pos_embed"][0], sinusoid_table(13, 8))


@pytest.mark.parametrize("name", TINY)
def test_same_size_changes_nothing(name):
    weights = reference_weights(tiny(name, (64, 64)))
    after, shapes = resize_weights(tiny(name, (64, 64)), weights, (64, 64))
    assert shapes == {} and all(after[key] is weights[key] for key in weights)


@pytest.mark.parametrize("name", TINY)
def test_our_own_checkpoints(name, tmp_path):
    """Our names and the authors' give the same tables; the checkpoint tells the old size, which here is not square."""
    net = tiny(name, (64, 128))
    card = ModelCard(name, TINY[name], ["a", "b", "c"], (64, 128), 3, (0.5,) * 3, (0.5,) * 3, 0.9)
    save_checkpoint(tmp_path / "a.ckpt", net.get_parameters(), card)
    checkpoint = read_checkpoint(tmp_path / "a.ckpt")
    new = tiny(name, (128, 64))
    ours, shapes = resize_weights(new, checkpoint.weights, checkpoint.card.image_size)
    theirs, _ = resize_weights(new, reference_weights(net), (64, 128))
    assert shapes
    for table in shapes:
        assert ours[table].shape == tuple(new.parameters_dict()[table].shape)
        np.testing.assert_array_equal(ours[table], theirs[table])
    assert set(ours) == set(new.parameters_dict())


def test_equal_numbers_of_another_grid_are_resized():
    """64 x 128 and 128 x 64 pixels have as many positions; the shapes agree, the grids do not."""
    weights = reference_weights(tiny("ptnt_s_patch16_256", (64, 128)))
    after, shapes = resize_weights(tiny("ptnt_s_patch16_256", (128, 64)), weights, (64, 128))
    name = "stages.0.relative_pos"
    assert shapes[name] == after[name].shape
    expected = resize_relative_pos(weights[name], (8, 16), (2, 4), (16, 8), (4, 2))
    np.testing.assert_array_equal(after[name], expected)


def test_tables_of_another_size_than_said():
    weights = reference_weights(tiny("tnt_s_patch16_224", (32, 32)))
    with pytest.raises(UserError, match=r"^outer_pos is not a table for images of 48 x 32: .*\(1, 1 \+ 3 \* 2, C\)"):
        resize_weights(tiny("tnt_s_patch16_224", (64, 64)), weights, (48, 32))
