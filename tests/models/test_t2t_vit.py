"""T2T-ViT: parity with the authors' networks, and what is particular to it."""

import mindspore as ms
import numpy as np
import pytest
from mindspore.nn.utils import no_init_parameters

from src.errors import UserError
from src.layers.sinusoid import sinusoid_table
from src.models import create_model, get_variant, list_models
from src.models.feature_extractor import FeatureExtractor
from src.models.t2t_vit import T2TViT, T2TViTDense
from src.optim.optimizer import decay_groups
from tests.parity import check_forward, check_gradients, check_training, load_case

TINY_CASES = ["tiny_t2t_performer", "tiny_t2t_transformer"]


@pytest.mark.parametrize("name", TINY_CASES)
def test_forward_of_tiny_cases(name, mode):
    check_forward(load_case(name))


PUBLISHED_CASES = [name for name in list_models("t2t*") if name != "t2t_vit_c_14"]


@pytest.mark.parametrize("name", PUBLISHED_CASES)
def test_forward_of_published_variants(name):
    ms.set_context(mode=ms.PYNATIVE_MODE)  # compiling takes most of the time; the slow test does it
    check_forward(load_case(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED_CASES)
def test_forward_of_published_variants_in_graph_mode(name):
    check_forward(load_case(name))


@pytest.mark.parametrize("name", TINY_CASES)
def test_gradients(name, mode):
    check_gradients(load_case(name))


@pytest.mark.parametrize("mode", ["graph", pytest.param("pynative", marks=pytest.mark.slow)], indirect=True)
@pytest.mark.parametrize("name", TINY_CASES)
def test_training_run(name, mode):
    check_training(load_case(name))


# name, arguments -> parameters (frozen positions and random features included), trainable parameters
COUNTS = [
    ("t2t_vit_7", {}, 4_310_222, 4_255_694),
    ("t2t_vit_10", {}, 5_889_230, 5_834_702),
    ("t2t_vit_12", {}, 6_941_902, 6_887_374),
    ("t2t_vit_14", {}, 21_545_550, 21_465_806),
    ("t2t_vit_19", {}, 39_177_422, 39_085_070),
    ("t2t_vit_24", {}, 64_105_934, 64_000_974),
    ("t2t_vit_t_14", {}, 21_541_070, 21_465_422),
    ("t2t_vit_t_19", {}, 39_172_942, 39_084_686),
    ("t2t_vit_t_24", {}, 64_101_454, 64_000_590),
    ("t2t_vit_c_14", {}, 21_421_992, 21_346_344),
    ("t2t_vit_14_resnext", {}, 21_545_550, 21_465_806),
    ("t2t_vit_14_wide", {}, 25_156_302, 25_000_910),
    ("t2t_vit_14_se", {}, 21_803_598, 21_723_854),
    ("t2t_vit_16_ghost", {}, 16_253_262, 16_173_518),
    ("t2t_vit_dense", {}, 23_647_062, 23_617_750),
    ("t2t_vit_14", {"image_size": 384}, 21_691_470, 21_465_806),
    ("t2t_vit_19", {"image_size": 384}, 39_347_662, 39_085_070),
    ("t2t_vit_24", {"image_size": 384}, 64_300_494, 64_000_974),
    ("t2t_vit_t_14", {"image_size": 384}, 21_686_990, 21_465_422),
    ("t2t_vit_14", {"tokens_type": "patch"}, 21_449_320, 21_373_672),
]


@pytest.mark.parametrize("name,arguments,parameters,trainable", COUNTS)
def test_parameter_counts(name, arguments, parameters, trainable):
    with no_init_parameters():  # drawing 64 million numbers takes seconds
        net = create_model(name, **arguments)
    assert sum(p.size for p in net.get_parameters()) == parameters
    assert sum(p.size for p in net.trainable_params()) == trainable


def test_names():
    assert [name for name, arguments, *_ in COUNTS if not arguments] == list_models("t2t*")


TINY = {"image_size": (32, 64), "num_classes": 5, "token_dim": 4, "num_heads": 2}
KINDS = {
    "t2t_vit_14": {"embed_dim": 16, "depth": 2},
    "t2t_vit_t_14": {"embed_dim": 16, "depth": 2},
    "t2t_vit_c_14": {"embed_dim": 16, "depth": 2},
    "t2t_vit_14_se": {"embed_dim": 32, "depth": 2},
    "t2t_vit_16_ghost": {"embed_dim": 16, "depth": 2},
    "t2t_vit_dense": {"embed_dim": 8, "growth_rate": 4, "block_config": (2, 1)},
}
DIMS = {"t2t_vit_14_se": [32, 32], "t2t_vit_dense": [12, 16, 8, 12]}  # after each block; the others have 16, 16


def tiny(name: str, **arguments):
    """The variant's architecture at a width and depth that compile fast."""
    return create_model(name, **{**TINY, **KINDS[name], **arguments})


def images(batch: int = 2, seed: int = 0) -> ms.Tensor:
    return ms.Tensor(np.random.RandomState(seed).randn(batch, 3, 32, 64).astype(np.float32))


@pytest.mark.parametrize("name", KINDS)
def test_graph_equals_eager_at_any_batch_size(name):
    net = tiny(name).set_train(False)
    net.set_inputs(ms.Tensor(shape=[None, 3, 32, 64], dtype=ms.float32))
    compiled = [net(images(batch)).asnumpy() for batch in (2, 5)]
    ms.set_context(mode=ms.PYNATIVE_MODE)
    for logits, batch in zip(compiled, (2, 5), strict=True):
        np.testing.assert_allclose(logits, net(images(batch)).asnumpy(), atol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_features_and_head_make_the_logits(name):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    net = tiny(name).set_train(False)
    dim = DIMS.get(name, [16])[-1]
    features = net.forward_features(images())
    assert features.shape == (2, 9, dim)
    np.testing.assert_array_equal(net.forward_head(features).asnumpy(), net(images()).asnumpy())
    assert net.forward_head(features, pre_logits=True).shape == (2, dim)
    assert tiny(name, num_classes=0).set_train(False)(images()).shape == (2, dim)


@pytest.mark.parametrize("name", KINDS)
def test_feature_extractor(name):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    net = tiny(name).set_train(False)
    extractor = FeatureExtractor(net).set_train(False)
    maps = extractor(images())
    dims = DIMS.get(name, [16, 16])
    assert [m.shape for m in maps] == [(2, dim, 2, 4) for dim in dims]
    assert list(extractor.feature_info) == [(dim, 16) for dim in dims]
    tokens = maps[-1].asnumpy().reshape(2, dims[-1], 8).transpose(0, 2, 1)
    features = net.norm(ms.Tensor(tokens)).asnumpy()
    np.testing.assert_allclose(features, net.forward_features(images()).asnumpy()[:, 1:], atol=1e-5)
    assert [m.shape for m in FeatureExtractor(net, (1,))(images())] == [(2, dims[1], 2, 4)]


@pytest.mark.parametrize("name", KINDS)
def test_every_trainable_parameter_gets_a_gradient(name):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    net = tiny(name).set_train()
    weights = net.trainable_params()
    frozen = {p.name for p in net.get_parameters()} - {p.name for p in weights}
    assert "pos_embed" in frozen and all(n == "pos_embed" or n.endswith(".w") for n in frozen)
    targets = ms.Tensor(np.array([1, 3], np.int32))
    loss = ms.nn.CrossEntropyLoss()
    gradients = ms.grad(lambda x: loss(net(x), targets), None, weights)(images())
    assert [p.name for p, g in zip(weights, gradients, strict=True) if not np.abs(g.asnumpy()).max() > 0] == []


def test_grey_images_and_all_tokens_types():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    grey = images()[:, :1]
    for tokens_type in ("performer", "transformer", "convolution", "patch"):
        net = tiny("t2t_vit_14", in_channels=1, tokens_type=tokens_type).set_train(False)
        assert net(grey).shape == (2, 5)


@pytest.mark.parametrize("image_size", [64, 96, (192, 256), 224])
def test_image_sizes(image_size):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    net = tiny("t2t_vit_14", image_size=image_size).set_train(False)
    height, width = net.image_size
    features = net.forward_features(ms.Tensor(np.zeros((1, 3, height, width), np.float32)))
    assert features.shape == (1, 1 + height // 16 * (width // 16), 16)


def test_positions_are_the_fixed_table_of_their_own_size():
    net = tiny("t2t_vit_14")
    np.testing.assert_array_equal(net.pos_embed.asnumpy(), sinusoid_table(1 + 2 * 4, 16)[None])
    assert not net.pos_embed.requires_grad


def test_weight_decay_spares_the_class_token_and_never_sees_frozen_tables():
    decayed, others = (group["params"] for group in decay_groups(tiny("t2t_vit_14"), 0.05)[:2])
    names = {p.name for p in decayed}
    assert "tokens_to_token.attention1.kqv.weight" in names and "head.weight" in names
    assert "cls_token" in {p.name for p in others}
    assert not {"pos_embed", "tokens_to_token.attention1.w"} & (names | {p.name for p in others})


def test_drop_path_rises_over_blocks_and_in_dense_networks_over_stages():
    rates = [block.drop_path1.rate for block in T2TViT(**TINY, embed_dim=8, depth=3, drop_path_rate=0.1).blocks]
    np.testing.assert_allclose(rates, [0, 0.05, 0.1])
    net = T2TViTDense(**TINY, embed_dim=16, growth_rate=8, block_config=(2, 1, 1, 1), drop_path_rate=0.11)
    rates = [block.drop_path2.rate for block in net.blocks if hasattr(block, "drop_path2")]
    np.testing.assert_allclose(rates, [0, 0, 0.01, 0.02, 0.03])


@pytest.mark.parametrize("image_size", [100, (224, 230), 0])
def test_wrong_image_size_is_refused_with_the_rule(image_size):
    with pytest.raises(UserError, match="image_size: T2T-ViT takes sides that are positive multiples of 16"):
        T2TViT(image_size=image_size, depth=1)


def test_squeeze_and_excitation_is_one_variant_only():
    for name in KINDS:
        if name == "t2t_vit_14_se":
            assert tiny(name, se=True).blocks[0].attn.se_layer is not None
        else:
            with pytest.raises(UserError, match="only as the variant t2t_vit_14_se"):
                tiny(name, se=True)


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"tokens_type": "perform"}, "tokens_type: expected one of performer, transformer, convolution, patch"),
        ({"block_type": "dense"}, "block_type: expected one of plain, se, ghost"),
        ({"num_heads": 5}, "embed_dim: expected a multiple of num_heads = 5"),
        ({"depth": 0}, "depth: expected at least one block"),
        ({"token_dim": 15}, "token_dim: expected an even number"),
        ({"block_type": "ghost", "mlp_ratio": 4.0}, "ghost blocks need mlp_ratio = 3"),
    ],
)
def test_wrong_structure_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        T2TViT(**{"depth": 1, **arguments})


def test_wrong_dense_structure_is_refused():
    with pytest.raises(UserError, match="num_heads = 8, got a width of 132"):
        T2TViTDense(growth_rate=4)
    with pytest.raises(UserError, match="block_config: expected 1 to 12 stages"):
        T2TViTDense(block_config=())


def test_inputs_are_normalised_with_the_imagenet_statistics():
    for name in list_models("t2t*"):
        assert get_variant(name).mean == (0.485, 0.456, 0.406)
        assert get_variant(name).std == (0.229, 0.224, 0.225)
