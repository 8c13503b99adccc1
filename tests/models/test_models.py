"""The same questions to every network: names, counts, interface."""

import mindspore as ms
import numpy as np
import pytest
from mindspore.nn.utils import no_init_parameters

from src.errors import UserError
from src.models import create_model, get_variant, list_models
from src.models.feature_extractor import FeatureExtractor

# name, arguments -> parameters (frozen ones included, batch-norm statistics not), trainable parameters
COUNTS = [
    ("tnt_ti_patch16_224", {}, 6_114_040, 6_076_408),
    ("tnt_s_patch16_224", {}, 23_843_848, 23_768_584),
    ("tnt_b_patch16_224", {}, 65_554_120, 65_428_680),
    ("tnt_ti_patch16_224", {"se": True}, 6_342_712, 6_305_080),
    ("tnt_s_patch16_224", {"se": True}, 24_743_560, 24_668_296),
    ("tnt_b_patch16_224", {"se": True}, 68_036_680, 67_911_240),
    ("tnt_ti_patch16_224", {"image_size": 384}, 6_259_960, 6_149_368),
    ("tnt_s_patch16_224", {"image_size": 384}, 24_135_688, 23_914_504),
    ("tnt_b_patch16_224", {"image_size": 384}, 66_040_520, 65_671_880),
    ("tnt_s_1_patch16_224", {}, 22_594_696, 22_519_432),
    ("tnt_s_2_patch16_224", {}, 22_438_552, 22_363_288),
    ("tnt_s_3_patch16_224", {}, 22_282_408, 22_207_144),
    ("tnt_s_4_patch16_224", {}, 22_126_264, 22_051_000),
    (
        "tnt_s_patch16_224",
        {"inner_stride": 2, "inner_dim": 6, "inner_num_heads": 2},
        23_761_264,
        23_686_000,
    ),
    (
        "tnt_s_patch16_224",
        {"inner_stride": 8, "inner_dim": 96, "inner_num_heads": 4},
        25_107_304,
        25_032_040,
    ),
    ("ptnt_ti_patch16_192", {}, 10_578_529, 10_578_529),
    ("ptnt_ti_patch16_192", {"se": True}, 10_926_569, 10_926_569),
    ("ptnt_s_patch16_256", {}, 31_953_200, 31_953_200),
    ("ptnt_s_patch16_256", {"se": True}, 33_035_632, 33_035_632),
    ("ptnt_m_patch16_256", {}, 84_943_572, 84_943_572),
    ("ptnt_m_patch16_256", {"se": True}, 87_960_756, 87_960_756),
    ("ptnt_b_patch16_256", {}, 156_990_072, 156_990_072),
    ("ptnt_b_patch16_256", {"se": True}, 162_605_560, 162_605_560),
]


@pytest.mark.parametrize("name,arguments,parameters,trainable", COUNTS)
def test_parameter_counts(name, arguments, parameters, trainable):
    with no_init_parameters():  # drawing the weights takes most of the time
        net = create_model(name, **arguments)
    assert sum(p.size for p in net.get_parameters() if "moving_" not in p.name) == parameters
    assert sum(p.size for p in net.trainable_params()) == trainable


def test_names():
    assert list_models("tnt_s*") == ["tnt_s_patch16_224"] + [f"tnt_s_{i}_patch16_224" for i in (1, 2, 3, 4)]
    assert list_models("ptnt*") == [
        f"ptnt_{s}" for s in ("ti_patch16_192", "s_patch16_256", "m_patch16_256", "b_patch16_256")
    ]
    assert list_models("vgg*") == []
    with pytest.raises(UserError, match="unknown model 'tnt_s_patch16_244'; did you mean tnt_s_patch16_224"):
        create_model("tnt_s_patch16_244")
    with pytest.raises(UserError, match="no argument 'drop_rat'; did you mean drop_rate"):
        create_model("tnt_s_patch16_224", drop_rat=0.1)


def tiny(name: str, **arguments):
    """The variant's architecture at a width and depth that compile fast."""
    if get_variant(name).network.__name__ == "TNT":
        small = {"depth": 2, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 16, "outer_num_heads": 2}
        small["inner_blocks"] = (1,)
    else:
        small = {
            "depths": (1, 2, 1, 1),
            "inner_dims": (2, 4, 4, 4),
            "inner_num_heads": (1, 2, 2, 2),
            "outer_dims": (8, 12, 16, 16),
            "outer_num_heads": (1, 2, 2, 2),
        }
    return create_model(name, **{**small, "image_size": (32, 64), "num_classes": 5, **arguments})


FAMILIES = ["tnt_s_patch16_224", "ptnt_s_patch16_256"]


def images(batch: int = 2, channels: int = 3, seed: int = 0) -> ms.Tensor:
    return ms.Tensor(np.random.RandomState(seed).randn(batch, channels, 32, 64).astype(np.float32))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("se", [False, True])
def test_graph_equals_eager(name, se):
    net = tiny(name, se=se).set_train(False)
    compiled = net(images()).asnumpy()
    ms.set_context(mode=ms.PYNATIVE_MODE)
    np.testing.assert_allclose(net(images()).asnumpy(), compiled, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_features_and_head_make_the_logits(name):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    net = tiny(name).set_train(False)
    features = net.forward_features(images())
    assert features.ndim == 3
    np.testing.assert_allclose(net.forward_head(features).asnumpy(), net(images()).asnumpy(), atol=1e-6)
    assert net.forward_head(features, pre_logits=True).shape == (2, 16)
    assert tiny(name, num_classes=0).set_train(False)(images()).shape == (2, 16)


@pytest.mark.parametrize("name", FAMILIES)
def test_grey_images(name):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    assert tiny(name, in_channels=1).set_train(False)(images(channels=1)).shape == (2, 5)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_trainable_parameter_gets_a_gradient(name):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    net = tiny(name, se=True).set_train()
    weights = net.trainable_params()
    targets = ms.Tensor(np.array([1, 3], np.int32))
    loss = ms.nn.CrossEntropyLoss()
    gradients = ms.grad(lambda x: loss(net(x), targets), None, weights)(images())
    dead = [p.name for p, g in zip(weights, gradients, strict=True) if not np.abs(g.asnumpy()).max() > 0]
    # a softmax over one token has no gradient, and the last stage of this size has 1 x 1 tokens
    assert [n for n in dead if not n.startswith("stages.3") and "relative_pos" not in n] == []


@pytest.mark.parametrize("name", FAMILIES)
def test_dropout_and_drop_path_act_in_training_only(name, mode):
    net = tiny(
        name,
        drop_rate=0.3,
        attn_drop_rate=0.3,
        drop_path_rate=0.5,
        **({"batch_norm": "eval", "depths": (1, 1, 1, 1)} if name.startswith("ptnt") else {}),
    )
    net.set_train()
    first, second = net(images()).asnumpy(), net(images()).asnumpy()
    assert np.abs(first - second).max() > 1e-4
    net.set_train(False)
    np.testing.assert_array_equal(net(images()).asnumpy(), net(images()).asnumpy())


@pytest.mark.parametrize(
    "mode,name,stages,shapes",
    [
        ("graph", "tnt_s_patch16_224", (0, 1), [(2, 16, 2, 4)] * 2),
        ("pynative", "tnt_s_patch16_224", (1,), [(2, 16, 2, 4)]),
        ("pynative", "ptnt_s_patch16_256", None, [(2, 8, 4, 8), (2, 12, 2, 4), (2, 16, 1, 2), (2, 16, 1, 1)]),
        ("graph", "ptnt_s_patch16_256", (1, 2), [(2, 12, 2, 4), (2, 16, 1, 2)]),
    ],
    indirect=["mode"],
)
def test_feature_extractor(mode, name, stages, shapes):
    net = tiny(name).set_train(False)
    names = [p.name for p in net.get_parameters()]
    extractor = FeatureExtractor(net, stages).set_train(False)
    maps = extractor(images())
    assert [m.shape for m in maps] == shapes
    assert [info.channels for info in extractor.feature_info] == [s[1] for s in shapes]
    assert [p.name for p in extractor.get_parameters()] == names


def test_feature_extractor_maps_are_the_networks_tokens():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    net = tiny("tnt_s_patch16_224").set_train(False)
    last = FeatureExtractor(net, (1,))(images())[0].asnumpy()  # B D H W
    tokens = last.reshape(2, 16, -1).transpose(0, 2, 1)
    normed = net.norm(ms.Tensor(tokens)).asnumpy()
    np.testing.assert_allclose(normed, net.forward_features(images()).asnumpy()[:, 1:], atol=1e-5)


@pytest.mark.parametrize("stages", [(), (1, 0), (0, 0), (-1,), (2,)])
def test_feature_extractor_refuses_wrong_stages(stages):
    with pytest.raises(UserError, match="rising indices from 0 to 1"):
        FeatureExtractor(tiny("tnt_s_patch16_224"), stages)
