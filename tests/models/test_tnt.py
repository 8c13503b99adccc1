"""TNT: parity with the authors' network, and what is particular to it."""

import mindspore as ms
import numpy as np
import pytest

from src.errors import UserError
from src.models.tnt import TNT, PatchEmbed
from tests.parity import check_forward, check_gradients, check_training, load_case

TINY = {"depth": 2, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 16, "outer_num_heads": 2, "num_classes": 5}


@pytest.mark.parametrize("name", ["tiny_tnt", "tiny_tnt_se"])
def test_forward_of_tiny_cases(name, mode):
    check_forward(load_case(name))


@pytest.mark.parametrize(
    "name",
    [
        *("tnt_ti_patch16_224", "tnt_s_patch16_224", "tnt_s_se_patch16_224"),
        pytest.param("tnt_b_patch16_224", marks=pytest.mark.slow),
    ],
)
def test_forward_of_published_variants(name):
    check_forward(load_case(name))


@pytest.mark.parametrize("name", ["tiny_tnt", "tiny_tnt_se"])
def test_gradients(name, mode):
    check_gradients(load_case(name))


@pytest.mark.parametrize("mode", ["graph", pytest.param("pynative", marks=pytest.mark.slow)], indirect=True)
def test_training_run(mode):
    check_training(load_case("tiny_tnt"))


def test_words_are_those_of_each_patch_alone():
    """A patch's words do not change when its neighbours do, and equal a convolution of the zero-padded patch."""
    embed = PatchEmbed(in_channels=1, inner_dim=2, patch_size=16, inner_stride=4)
    images = np.random.RandomState(0).randn(1, 1, 32, 32).astype(np.float32)
    words = embed(ms.Tensor(images)).asnumpy()
    assert words.shape == (4, 16, 2)
    padded = np.pad(images[0, 0, :16, 16:], 3)  # the second patch of the first row
    weight, bias = embed.proj.weight.asnumpy(), embed.proj.bias.asnumpy()
    for row in range(4):
        for column in range(4):
            window = padded[4 * row : 4 * row + 7, 4 * column : 4 * column + 7]
            expected = (weight[:, 0] * window).sum(axis=(1, 2)) + bias
            np.testing.assert_allclose(words[1, 4 * row + column], expected, atol=1e-5)


@pytest.mark.parametrize("image_size", [64, 96, (192, 256), 224])
def test_image_sizes(image_size):
    ms.set_context(mode=ms.PYNATIVE_MODE)  # nothing is compiled
    net = TNT(image_size=image_size, **TINY).set_train(False)
    height, width = net.image_size
    features = net.forward_features(ms.Tensor(np.zeros((1, 3, height, width), np.float32)))
    assert features.shape == (1, 1 + height // 16 * (width // 16), 16)


@pytest.mark.parametrize("image_size", [100, (224, 230), 0, (224,), 224.0])
def test_wrong_image_size_is_refused_with_the_rule(image_size):
    with pytest.raises(UserError, match="multiples of 16"):
        TNT(image_size=image_size)


def test_wrong_structure_is_refused():
    with pytest.raises(UserError, match="inner_dim: expected a multiple of inner_num_heads = 3"):
        TNT(inner_num_heads=3, inner_dim=8)
    with pytest.raises(UserError, match="counted from 1 to 12"):
        TNT(inner_blocks=(0, 4))


def test_blocks_without_words_pass_them_unchanged():
    net = TNT(image_size=32, inner_blocks=(2,), **TINY).set_train(False)
    words, tokens = net.embed(ms.Tensor(np.random.RandomState(0).randn(1, 3, 32, 32).astype(np.float32)))
    assert not any("inner" in p.name for p in net.blocks[0].get_parameters())
    np.testing.assert_array_equal(net.blocks[0](words, tokens)[0].asnumpy(), words.asnumpy())
    assert np.abs(net.blocks[1](words, tokens)[0].asnumpy() - words.asnumpy()).max() > 1e-4
