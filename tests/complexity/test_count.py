"""The cost of every network: against counts of the authors' code, and against what a forward pass multiplies."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from mindspore.nn.utils import no_init_parameters

from src.complexity.count import PARTS, count
from src.layers.attention import ScaledDotProductAttention
from src.layers.conv import Conv2d
from src.layers.linear import Linear
from src.layers.unfold import UnfoldConv2d
from src.models import create_model
from src.models.t2t_blocks import ChannelScale
from src.models.t2t_tokens import TokenPerformer

# Variant, arguments, (parameters, trainable parameters, multiply-adds in all), multiply-adds by part; counted on the
# authors' PyTorch networks by a hook on every operator. Linear layers and products of an attention are one number, so
# are the projections of words to sentences before and in the blocks. The hook counts the gates of t2t_vit_14_se with
# the attention they belong to; here they are apart, 14 gates of 2 x 384 x 24.
TNT_PARTS = (
    "stem",
    "inner attention",
    "inner MLP",
    "word-to-sentence",
    "outer attention",
    "outer MLP",
    "squeeze-and-excitation",
    "head",
)
TNT = [
    (
        "tnt_ti_patch16_224",
        {},
        (6_114_040, 6_076_408, 1_403_721_984),
        (5_531_904, 36_126_720, 43_352_064, 93_929_472, 527_417_856, 697_171_968, 0, 192_000),
    ),
    (
        "tnt_s_patch16_224",
        {},
        (23_843_848, 23_768_584, 5_216_875_008),
        (11_063_808, 115_605_504, 173_408_256, 375_717_888, 1_752_007_680, 2_788_687_872, 0, 384_000),
    ),
    (
        "tnt_b_patch16_224",
        {},
        (65_554_120, 65_428_680, 14_049_082_880),
        (18_439_680, 289_013_760, 481_689_600, 1_043_660_800, 4_469_283_840, 7_746_355_200, 0, 640_000),
    ),
    (
        "tnt_ti_patch16_224",
        {"se": True},
        (6_342_712, 6_305_080, 1_403_943_168),
        (5_531_904, 36_126_720, 43_352_064, 93_929_472, 527_417_856, 697_171_968, 221_184, 192_000),
    ),
    (
        "tnt_s_patch16_224",
        {"se": True},
        (24_743_560, 24_668_296, 5_217_759_744),
        (11_063_808, 115_605_504, 173_408_256, 375_717_888, 1_752_007_680, 2_788_687_872, 884_736, 384_000),
    ),
    (
        "tnt_b_patch16_224",
        {"se": True},
        (68_036_680, 67_911_240, 14_051_540_480),
        (18_439_680, 289_013_760, 481_689_600, 1_043_660_800, 4_469_283_840, 7_746_355_200, 2_457_600, 640_000),
    ),
    (
        "tnt_ti_patch16_224",
        {"image_size": 384},
        (6_259_960, 6_149_368, 5_123_149_824),
        (16_257_024, 106_168_320, 127_401_984, 276_037_632, 2_555_122_176, 2_041_970_688, 0, 192_000),
    ),
    (
        "tnt_s_patch16_224",
        {"image_size": 384},
        (24_135_688, 23_914_504, 17_306_492_928),
        (32_514_048, 339_738_624, 509_607_936, 1_104_150_528, 7_152_215_040, 8_167_882_752, 0, 384_000),
    ),
    (
        "tnt_b_patch16_224",
        {"image_size": 384},
        (66_040_520, 65_671_880, 44_533_473_280),
        (54_190_080, 849_346_560, 1_415_577_600, 3_067_084_800, 16_458_071_040, 22_688_563_200, 0, 640_000),
    ),
    (
        "tnt_s_1_patch16_224",
        {},
        (22_594_696, 22_519_432, 4_792_988_160),
        (11_063_808, 38_535_168, 57_802_752, 144_506_880, 1_752_007_680, 2_788_687_872, 0, 384_000),
    ),
    (
        "tnt_s_2_patch16_224",
        {},
        (22_438_552, 22_363_288, 4_740_002_304),
        (11_063_808, 28_901_376, 43_352_064, 115_605_504, 1_752_007_680, 2_788_687_872, 0, 384_000),
    ),
    (
        "tnt_s_3_patch16_224",
        {},
        (22_282_408, 22_207_144, 4_687_016_448),
        (11_063_808, 19_267_584, 28_901_376, 86_704_128, 1_752_007_680, 2_788_687_872, 0, 384_000),
    ),
    (
        "tnt_s_4_patch16_224",
        {},
        (22_126_264, 22_051_000, 4_634_030_592),
        (11_063_808, 9_633_792, 14_450_688, 57_802_752, 1_752_007_680, 2_788_687_872, 0, 384_000),
    ),
    (
        "tnt_s_patch16_224",
        {"inner_stride": 2, "inner_dim": 6, "inner_num_heads": 2},
        (23_761_264, 23_686_000, 5_108_494_848),
        (11_063_808, 137_281_536, 43_352_064, 375_717_888, 1_752_007_680, 2_788_687_872, 0, 384_000),
    ),
    (
        "tnt_s_patch16_224",
        {"inner_stride": 8, "inner_dim": 96, "inner_num_heads": 4},
        (25_107_304, 25_032_040, 5_975_536_128),
        (11_063_808, 354_041_856, 693_633_024, 375_717_888, 1_752_007_680, 2_788_687_872, 0, 384_000),
    ),
]
PYRAMID_TNT_PARTS = (
    "stem",
    "inner attention",
    "inner MLP",
    "word-to-sentence",
    "outer attention",
    "outer MLP",
    "squeeze-and-excitation",
    "aggregation",
    "head",
)
PYRAMID_TNT = [
    (
        "ptnt_ti_patch16_192",
        {},
        (10_578_529, 10_578_529, 586_434_560),
        (31_518_720, 5_667_840, 5_990_400, 11_980_800, 147_744_000, 339_148_800, 0, 44_064_000, 320_000),
    ),
    (
        "ptnt_ti_patch16_192",
        {"se": True},
        (10_926_569, 10_926_569, 586_773_760),
        (31_518_720, 5_667_840, 5_990_400, 11_980_800, 147_744_000, 339_148_800, 339_200, 44_064_000, 320_000),
    ),
    (
        "ptnt_s_patch16_256",
        {},
        (31_953_200, 31_953_200, 3_283_341_312),
        (139_198_464, 27_525_120, 35_651_584, 71_303_168, 862_453_760, 1_946_157_056, 0, 200_540_160, 512_000),
    ),
    (
        "ptnt_s_patch16_256",
        {"se": True},
        (33_035_632, 33_035_632, 3_284_406_272),
        (139_198_464, 27_525_120, 35_651_584, 71_303_168, 862_453_760, 1_946_157_056, 1_064_960, 200_540_160, 512_000),
    ),
    (
        "ptnt_m_patch16_256",
        {},
        (84_943_572, 84_943_572, 8_204_630_016),
        (307_888_128, 54_657_024, 80_216_064, 160_432_128, 2_166_620_160, 4_982_833_152, 0, 451_215_360, 768_000),
    ),
    (
        "ptnt_m_patch16_256",
        {"se": True},
        (87_960_756, 87_960_756, 8_207_616_000),
        (
            307_888_128,
            54_657_024,
            80_216_064,
            160_432_128,
            2_166_620_160,
            4_982_833_152,
            2_985_984,
            451_215_360,
            768_000,
        ),
    ),
    (
        "ptnt_b_patch16_256",
        {},
        (156_990_072, 156_990_072, 15_966_642_176),
        (542_638_080, 90_701_824, 142_606_336, 285_212_672, 4_170_186_752, 9_932_111_872, 0, 802_160_640, 1_024_000),
    ),
    (
        "ptnt_b_patch16_256",
        {"se": True},
        (162_605_560, 162_605_560, 15_972_212_736),
        (
            542_638_080,
            90_701_824,
            142_606_336,
            285_212_672,
            4_170_186_752,
            9_932_111_872,
            5_570_560,
            802_160_640,
            1_024_000,
        ),
    ),
]
T2T_VIT_PARTS = ("token module", "outer attention", "outer MLP", "squeeze-and-excitation", "dense connections", "head")
T2T_VIT = [
    ("t2t_vit_7", {}, (4_310_222, 4_255_694, 1_146_863_616), (284_523_008, 500_588_032, 361_496_576, 0, 0, 256_000)),
    ("t2t_vit_10", {}, (5_889_230, 5_834_702, 1_516_328_448), (284_523_008, 715_125_760, 516_423_680, 0, 0, 256_000)),
    ("t2t_vit_12", {}, (6_941_902, 6_887_374, 1_762_638_336), (284_523_008, 858_150_912, 619_708_416, 0, 0, 256_000)),
    (
        "t2t_vit_14",
        {},
        (21_545_550, 21_465_806, 4_783_468_544),
        (298_973_696, 2_044_008_960, 2_440_101_888, 0, 0, 384_000),
    ),
    (
        "t2t_vit_19",
        {},
        (39_177_422, 39_085_070, 8_479_682_176),
        (306_199_040, 3_665_624_704, 4_507_410_432, 0, 0, 448_000),
    ),
    (
        "t2t_vit_24",
        {},
        (64_105_934, 64_000_974, 13_661_874_688),
        (313_424_384, 5_911_437_312, 7_436_500_992, 0, 0, 512_000),
    ),
    (
        "t2t_vit_t_14",
        {},
        (21_541_070, 21_465_422, 6_088_721_920),
        (1_604_227_072, 2_044_008_960, 2_440_101_888, 0, 0, 384_000),
    ),
    (
        "t2t_vit_t_19",
        {},
        (39_172_942, 39_084_686, 9_784_935_552),
        (1_611_452_416, 3_665_624_704, 4_507_410_432, 0, 0, 448_000),
    ),
    (
        "t2t_vit_t_24",
        {},
        (64_101_454, 64_000_590, 14_967_128_064),
        (1_618_677_760, 5_911_437_312, 7_436_500_992, 0, 0, 512_000),
    ),
    (
        "t2t_vit_14",
        {"image_size": 384},
        (21_691_470, 21_465_806, 16_370_148_864),
        (878_616_576, 8_344_250_880, 7_146_897_408, 0, 0, 384_000),
    ),
    (
        "t2t_vit_19",
        {"image_size": 384},
        (39_347_662, 39_085_070, 28_571_261_056),
        (899_850_240, 14_469_055_104, 13_201_907_712, 0, 0, 448_000),
    ),
    (
        "t2t_vit_24",
        {"image_size": 384},
        (64_300_494, 64_000_974, 45_405_360_128),
        (921_083_904, 22_702_743_552, 21_781_020_672, 0, 0, 512_000),
    ),
    (
        "t2t_vit_t_14",
        {"image_size": 384},
        (21_686_990, 21_465_422, 27_826_521_600),
        (12_334_989_312, 8_344_250_880, 7_146_897_408, 0, 0, 384_000),
    ),
    (
        "t2t_vit_14_resnext",
        {},
        (21_545_550, 21_465_806, 4_783_468_544),
        (298_973_696, 2_044_008_960, 2_440_101_888, 0, 0, 384_000),
    ),
    (
        "t2t_vit_14_wide",
        {},
        (25_156_302, 25_000_910, 5_229_349_376),
        (342_325_760, 2_097_567_744, 2_788_687_872, 0, 0, 768_000),
    ),
    (
        "t2t_vit_14_se",
        {},
        (21_803_598, 21_723_854, 4_783_726_592),
        (298_973_696, 2_044_008_960, 2_440_101_888, 258_048, 0, 384_000),
    ),
    (
        "t2t_vit_16_ghost",
        {},
        (16_253_262, 16_173_518, 3_801_557_504),
        (298_973_696, 1_640_653_824, 1_861_545_984, 0, 0, 384_000),
    ),
    (
        "t2t_vit_dense",
        {},
        (23_647_062, 23_617_750, 5_276_107_968),
        (270_072_320, 2_682_427_648, 2_155_867_136, 0, 167_156_864, 584_000),
    ),
    (
        "t2t_vit_c_14",
        {},
        (21_421_992, 21_346_344, 4_586_251_776),
        (101_756_928, 2_044_008_960, 2_440_101_888, 0, 0, 384_000),
    ),
    (
        "t2t_vit_14",
        {"tokens_type": "patch"},
        (21_449_320, 21_373_672, 4_542_297_600),
        (57_802_752, 2_044_008_960, 2_440_101_888, 0, 0, 384_000),
    ),
]


def entries():
    for names, rows in ((TNT_PARTS, TNT), (PYRAMID_TNT_PARTS, PYRAMID_TNT), (T2T_VIT_PARTS, T2T_VIT)):
        for name, arguments, totals, numbers in rows:
            parts = {part: number for part, number in zip(names, numbers, strict=True) if number}
            changed = "-".join(f"{key}_{value}" for key, value in arguments.items())
            yield pytest.param(name, arguments, totals, parts, id=f"{name}-{changed}" if changed else name)


def build(name: str, **arguments) -> nn.Cell:
    """The network without values, which takes seconds for the large ones."""
    with no_init_parameters():
        return create_model(name, **arguments)


@pytest.mark.parametrize("name,arguments,totals,parts", list(entries()))
def test_counts_of_the_authors_networks(name, arguments, totals, parts):
    complexity = count(build(name, **arguments))
    assert (complexity.parameters, complexity.trainable, complexity.total) == totals
    assert complexity.multiply_adds == parts


class Forward:
    """Multiply-adds of a forward pass, from the shapes of the tensors that enter and leave the layers."""

    def __init__(self, net: nn.Cell):
        self.total = 0
        for _, cell in net.cells_and_names():
            cell.register_forward_hook(self.add)

    def add(self, cell: nn.Cell, inputs, outputs) -> None:
        if isinstance(cell, (Linear, Conv2d, UnfoldConv2d)):
            self.total += outputs.size * cell.weight.size // cell.weight.shape[0]
        elif isinstance(cell, ChannelScale):
            self.total += outputs.size
        elif isinstance(cell, ScaledDotProductAttention):
            (batch, queries, width), keys, value_width = inputs[0].shape, inputs[1].shape[1], inputs[2].shape[2]
            self.total += batch * queries * keys * (width + value_width)
        elif isinstance(cell, TokenPerformer):
            batch, tokens, dim = outputs.shape
            num_features = cell.w.shape[0]
            random_features = 2 * tokens * dim * num_features
            products = num_features * tokens * dim + tokens * num_features * dim + tokens * num_features
            self.total += batch * (random_features + products)


TINY_TNT = {"depth": 2, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 16, "outer_num_heads": 2}
TINY_PYRAMID_TNT = {
    "depths": (1, 7, 1, 1),
    "inner_dims": (2, 4, 6, 8),
    "inner_num_heads": (1, 2, 2, 2),
    "outer_dims": (8, 12, 16, 20),
    "outer_num_heads": (1, 2, 2, 2),
}
TINY_T2T_VIT = {"token_dim": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
TINY = [
    ("tnt_s_patch16_224", {**TINY_TNT, "image_size": (32, 48), "se": True}),
    ("tnt_s_patch16_224", {**TINY_TNT, "image_size": 48, "in_channels": 1, "inner_blocks": (2,), "inner_stride": 8}),
    ("tnt_s_patch16_224", {**TINY_TNT, "image_size": 32, "num_classes": 0, "mlp_ratio": 2.0, "qkv_bias": True}),
    ("ptnt_s_patch16_256", {**TINY_PYRAMID_TNT, "image_size": (96, 160), "se": True}),
    ("ptnt_s_patch16_256", {**TINY_PYRAMID_TNT, "image_size": 64, "sr_ratios": (2, 1, 1, 1), "num_classes": 5}),
    ("t2t_vit_14", {**TINY_T2T_VIT, "image_size": (32, 64)}),
    ("t2t_vit_t_14", {**TINY_T2T_VIT, "image_size": 48, "num_classes": 5}),
    ("t2t_vit_c_14", {**TINY_T2T_VIT, "image_size": (48, 32), "in_channels": 1}),
    ("t2t_vit_14", {**TINY_T2T_VIT, "image_size": 32, "tokens_type": "patch", "num_classes": 0}),
    ("t2t_vit_14_se", {**TINY_T2T_VIT, "image_size": 32}),
    ("t2t_vit_16_ghost", {**TINY_T2T_VIT, "image_size": 32}),
    (
        "t2t_vit_dense",
        {"token_dim": 4, "embed_dim": 8, "growth_rate": 4, "block_config": (2, 1), "num_heads": 2, "image_size": 32},
    ),
]


@pytest.mark.parametrize("name,arguments", TINY)
def test_counts_what_a_forward_pass_multiplies(name, arguments):
    ms.set_context(mode=ms.PYNATIVE_MODE)  # hooks act in this mode only
    net = create_model(name, **arguments).set_train(False)
    forward = Forward(net)
    images = np.zeros((1, arguments.get("in_channels", 3), *net.image_size), np.float32)
    net(ms.Tensor(images))
    assert count(net).total == forward.total


def test_parts_keep_their_order():
    for name, arguments in TINY:
        parts = list(count(build(name, **arguments)).multiply_adds)
        assert parts == sorted(parts, key=PARTS.index)


def test_frozen_batch_norms_are_parameters_and_their_statistics_are_not():
    usual = count(build("ptnt_s_patch16_256", **TINY_PYRAMID_TNT))
    frozen = count(build("ptnt_s_patch16_256", **TINY_PYRAMID_TNT, batch_norm="frozen"))
    assert usual.trainable == usual.parameters == frozen.parameters
    # gains and biases of the stem: 2 C of the common convolution, C of the words', 4 C, 8 C and D of the sentences'
    assert frozen.parameters - frozen.trainable == 2 * (2 * 2 + 2 + 4 * 2 + 8 * 2 + 8)


def test_a_changed_layer_changes_the_count():
    net = build("tnt_s_patch16_224", **TINY_TNT, image_size=32)
    before = count(net)
    net.blocks[1].outer_mlp.fc1 = Linear(16, 20)
    net.blocks[1].outer_mlp.fc2 = Linear(20, 16)
    after = count(net)
    tokens, fewer = 5, 64 - 20
    assert before.total - after.total == before.multiply_adds["outer MLP"] - after.multiply_adds["outer MLP"]
    assert before.total - after.total == tokens * 2 * 16 * fewer
    assert before.parameters - after.parameters == 2 * 16 * fewer + fewer


def test_an_unknown_weight_is_refused():
    net = build("tnt_s_patch16_224", **TINY_TNT, image_size=32)
    net.blocks[0].extra = Linear(16, 16)
    with pytest.raises(NotImplementedError, match="where TNT applies blocks.0.extra.weight is not known"):
        count(net)


def test_an_unknown_network_is_refused():
    with pytest.raises(TypeError, match="what a Linear costs is not known"):
        count(Linear(4, 4))
