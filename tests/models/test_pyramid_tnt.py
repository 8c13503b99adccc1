"""PyramidTNT: parity with the authors' network, and what is particular to it."""

import mindspore as ms
import numpy as np
import pytest
from mindspore.nn.utils import no_init_parameters

from src.errors import UserError
from src.models import create_model
from src.models.pyramid_tnt import PyramidTNT, WordAggregation
from tests.parity import check_forward, check_gradients, check_training, load_case

TINY = {
    "depths": (1, 1, 1, 1),
    "inner_dims": (2, 4, 4, 4),
    "inner_num_heads": (1, 2, 2, 2),
    "outer_dims": (8, 8, 16, 16),
    "outer_num_heads": (1, 2, 2, 2),
    "num_classes": 5,
}


def test_forward_of_the_tiny_case(mode):
    check_forward(load_case("tiny_pyramid_tnt"))


@pytest.mark.parametrize(
    "name,variant",
    [
        ("pyramid_tnt_ti_192", "ptnt_ti_patch16_192"),
        ("pyramid_tnt_s_256", "ptnt_s_patch16_256"),
        pytest.param("pyramid_tnt_m_256", "ptnt_m_patch16_256", marks=pytest.mark.slow),
        pytest.param("pyramid_tnt_b_256", "ptnt_b_patch16_256", marks=pytest.mark.slow),
    ],
)
def test_forward_of_published_variants(name, variant):
    case = load_case(name)
    assert case.meta["factory"] == variant
    check_forward(case)


@pytest.mark.parametrize(
    "mode,name",
    [
        ("graph", "tiny_pyramid_tnt_train_mode"),
        ("pynative", "tiny_pyramid_tnt_train_mode"),
        ("pynative", "tiny_pyramid_tnt"),
        pytest.param("graph", "tiny_pyramid_tnt", marks=pytest.mark.slow),
    ],
    indirect=["mode"],
)
def test_gradients(name, mode):
    check_gradients(load_case(name))


@pytest.mark.parametrize("mode", ["graph", pytest.param("pynative", marks=pytest.mark.slow)], indirect=True)
@pytest.mark.parametrize(
    "name", ["tiny_pyramid_tnt", pytest.param("tiny_pyramid_tnt_train_mode", marks=pytest.mark.slow)]
)
def test_training_run(name, mode):
    check_training(load_case(name))


@pytest.mark.parametrize("image_size,last_grid", [(64, (1, 1)), (96, (2, 2)), ((192, 256), (3, 4)), (224, (4, 4))])
def test_image_sizes(image_size, last_grid):
    ms.set_context(mode=ms.PYNATIVE_MODE)  # nothing is compiled
    net = PyramidTNT(image_size=image_size, **TINY).set_train(False)
    height, width = net.image_size
    assert net(ms.Tensor(np.ones((1, 3, height, width), np.float32))).shape == (1, 5)
    assert net.grid_sizes[3] == last_grid


def test_relative_positions_have_the_authors_shapes_and_follow_odd_grids():
    with no_init_parameters():  # drawing the weights takes most of the time
        nets = [create_model("ptnt_ti_patch16_192"), create_model("ptnt_ti_patch16_192", image_size=224)]
    shapes = [s.relative_pos.shape for s in nets[0].stages]
    assert shapes == [(1, 2, 576, 36), (1, 4, 144, 36), (1, 8, 36, 36), (1, 8, 9, 9)]
    shapes = [s.relative_pos.shape for s in nets[1].stages]
    assert shapes == [(1, 2, 784, 49), (1, 4, 196, 49), (1, 8, 49, 49), (1, 8, 16, 16)]


@pytest.mark.parametrize("image_size", [48, (224, 240), -32, "224"])
def test_wrong_image_size_is_refused_with_the_rule(image_size):
    with pytest.raises(UserError, match="multiples of 32"):
        PyramidTNT(image_size=image_size)


def test_wrong_structure_is_refused():
    with pytest.raises(UserError, match="depths: expected one number for each of the four stages"):
        PyramidTNT(depths=(1, 2))
    with pytest.raises(UserError, match="outer_dims: expected multiples of outer_num_heads"):
        PyramidTNT(outer_num_heads=(3, 8, 16, 16))
    with pytest.raises(UserError, match="3 does not divide"):
        PyramidTNT(sr_ratios=(3, 2, 1, 1))
    with pytest.raises(UserError, match="batch_norm: expected one of train, synchronized, eval, frozen"):
        PyramidTNT(batch_norm="freeze")


def test_word_merge_pads_odd_grids_with_zero_words_and_every_merged_sentence_with_zeros():
    """One sentence of a 1 x 1 grid becomes the upper left quarter of an 8 x 8 image of words."""
    merge = WordAggregation(2, 3, (1, 1))
    words = np.random.RandomState(0).randn(1, 16, 2).astype(np.float32)
    merged = merge(ms.Tensor(words)).asnumpy()
    assert merged.shape == (1, 16, 3)
    normed = merge.norm(ms.Tensor(words)).asnumpy().reshape(4, 4, 2)
    image = np.zeros((10, 10, 2), np.float32)
    image[1:5, 1:5] = normed
    weight, bias = merge.conv[0].weight.asnumpy(), merge.conv[0].bias.asnumpy()
    for row in range(4):
        for column in range(4):
            window = image[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]  # 3 3 C
            expected = np.einsum("oikl,kli->o", weight, window) + bias
            np.testing.assert_allclose(merged[0, 4 * row + column], expected, atol=1e-5)


@pytest.mark.parametrize(
    "batch_norm,tracks,trained", [("train", True, True), ("eval", False, True), ("frozen", False, False)]
)
def test_batch_norm_modes(batch_norm, tracks, trained):
    ms.set_context(mode=ms.PYNATIVE_MODE)  # nothing is compiled
    net = PyramidTNT(image_size=32, batch_norm=batch_norm, **TINY).set_train()
    norm = net.patch_embed.common_conv[1]
    before = norm.moving_mean.asnumpy().copy()
    images = ms.Tensor(np.random.RandomState(0).randn(2, 3, 32, 32).astype(np.float32))
    in_training = net(images).asnumpy()
    assert (np.abs(norm.moving_mean.asnumpy() - before).max() > 0) == tracks
    in_evaluation = net.set_train(False)(images).asnumpy()
    assert np.allclose(in_training, in_evaluation, atol=1e-6) == (not tracks)
    assert any(p.name == "patch_embed.common_conv.1.gamma" for p in net.trainable_params()) == trained


def test_running_statistics_keep_nine_tenths_and_take_the_unbiased_variance(mode):
    """As PyTorch: running = 0.9 running + 0.1 batch, with n - 1 in the variance."""
    net = PyramidTNT(image_size=32, **TINY).set_train()
    images = np.random.RandomState(0).randn(2, 3, 32, 32).astype(np.float32)
    conv, norm, _ = net.patch_embed.common_conv
    x = conv(ms.Tensor(images)).asnumpy()  # 2 4 16 16
    net(ms.Tensor(images))
    np.testing.assert_allclose(norm.moving_mean.asnumpy(), 0.1 * x.mean(axis=(0, 2, 3)), atol=1e-5)
    variance = 0.9 + 0.1 * x.var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(norm.moving_variance.asnumpy(), variance, atol=1e-5)
