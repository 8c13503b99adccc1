"""Variants recognised from the names and shapes of the authors' networks, and of ours."""

import json

import pytest
from mindspore.nn.utils import no_init_parameters

from src.errors import UserError
from src.models import create_model
from src.models.t2t_vit import T2TViT
from src.weights.recognition import WITHOUT_TRACE, check_variant, choose_variant, recognise
from tests.parity import FOLDER

# reference case -> variant, side of the image, squeeze-and-excitation
PUBLISHED = {
    "tnt_ti_patch16_224": ("tnt_ti_patch16_224", 224, False),
    "tnt_s_patch16_224": ("tnt_s_patch16_224", 224, False),
    "tnt_s_se_patch16_224": ("tnt_s_patch16_224", 224, True),
    "tnt_b_patch16_224": ("tnt_b_patch16_224", 224, False),
    "pyramid_tnt_ti_192": ("ptnt_ti_patch16_192", 192, False),
    "pyramid_tnt_s_256": ("ptnt_s_patch16_256", 256, False),
    "pyramid_tnt_m_256": ("ptnt_m_patch16_256", 256, False),
    "pyramid_tnt_b_256": ("ptnt_b_patch16_256", 256, False),
    **{
        name: (name, 224, False)
        for name in (
            "t2t_vit_7",
            "t2t_vit_10",
            "t2t_vit_12",
            "t2t_vit_19",
            "t2t_vit_24",
            "t2t_vit_t_14",
            "t2t_vit_t_19",
            "t2t_vit_t_24",
            "t2t_vit_14_wide",
            "t2t_vit_14_se",
            "t2t_vit_16_ghost",
            "t2t_vit_dense",
        )
    },
}


def shapes_in(model: str, **arguments) -> dict[str, tuple[int, ...]]:
    """Of a network of ours."""
    with no_init_parameters():
        return {p.name: tuple(p.shape) for p in create_model(model, **arguments).get_parameters()}


def shapes_of(case: str) -> dict[str, tuple[int, ...]]:
    state_dict = json.loads((FOLDER / f"{case}.json").read_text())["state_dict"]
    return {name: tuple(shape) for name, shape in state_dict}


@pytest.mark.parametrize("case", PUBLISHED)
def test_published_variant(case):
    variant, side, se = PUBLISHED[case]
    found = recognise(shapes_of(case))
    assert choose_variant(found) == variant
    assert (found.num_classes, found.in_channels, found.se) == (1000, 3, se)
    assert found.square_image_size(variant, {}) == (side, side)
    check_variant(variant, {}, found)


def test_heads_leave_no_trace():
    for case in ("t2t_vit_14", "t2t_vit_14_resnext"):
        found = recognise(shapes_of(case))
        with pytest.raises(UserError, match="t2t_vit_14 and t2t_vit_14_resnext .* number of heads.*--model"):
            choose_variant(found)
        check_variant("t2t_vit_14", {}, found)
        check_variant("t2t_vit_14_resnext", {}, found)


@pytest.mark.parametrize("number,inner_blocks", [(1, (1, 4, 8, 12)), (2, (1, 6, 12)), (3, (1, 6)), (4, (1,))])
def test_blocks_with_words(number, inner_blocks):
    """Paper Table 5: TNT-S without the words of some blocks."""
    shapes = shapes_of("tnt_s_patch16_224")
    for block in set(range(12)) - {n - 1 for n in inner_blocks}:
        for part in ("inner_", "proj"):
            shapes = {name: shape for name, shape in shapes.items() if not name.startswith(f"blocks.{block}.{part}")}
    assert choose_variant(recognise(shapes)) == f"tnt_s_{number}_patch16_224"


def test_convolution_tokens_and_our_own_names():
    found = recognise(shapes_in("t2t_vit_c_14", num_classes=7, in_channels=4, image_size=384))
    assert choose_variant(found) == "t2t_vit_c_14"
    assert (found.num_classes, found.in_channels) == (7, 4)
    assert found.square_image_size("t2t_vit_c_14", {}) == (384, 384)


@pytest.mark.parametrize("name", ["tnt_ti_patch16_224", "ptnt_ti_patch16_192", "t2t_vit_7", "t2t_vit_t_14"])
def test_our_own_names_head_and_channels(name):
    found = recognise(shapes_in(name, num_classes=10, in_channels=1, image_size=64))
    assert choose_variant(found) == name
    assert (found.num_classes, found.in_channels, found.num_positions) == (10, 1, 64 if name[0] == "p" else 16)
    assert found.square_image_size(name, {}) == (64, 64)


def test_size_of_patches():
    found = recognise(shapes_of("tiny_tnt"))
    assert found.square_image_size("tnt_s_patch16_224", {"patch_size": 8}) == (32, 32)
    assert found.square_image_size("tnt_s_patch16_224", {}) == (64, 64)


def test_grid_that_is_not_square():
    shapes = shapes_of("tnt_s_patch16_224") | {"outer_pos": (1, 1 + 12 * 16, 384)}
    with pytest.raises(UserError, match="192 entries, which form no square grid: give the height and width"):
        recognise(shapes).square_image_size("tnt_s_patch16_224", {})


def test_another_variant_is_refused_with_what_differs():
    found = recognise(shapes_of("tnt_s_patch16_224"))
    with pytest.raises(UserError, match="^found TNT with depth 12, inner_dim 24, outer_dim 384, but tnt_b_patch16_224"):
        check_variant("tnt_b_patch16_224", {}, found)
    with pytest.raises(UserError, match=r"but tnt_s_4_patch16_224 has inner_blocks \(1\)$"):
        check_variant("tnt_s_4_patch16_224", {}, found)
    with pytest.raises(UserError, match="but t2t_vit_7 has another architecture, T2TViT$"):
        check_variant("t2t_vit_7", {}, found)
    with pytest.raises(UserError, match="but tnt_s_patch16_224 has depth 3$"):
        check_variant("tnt_s_patch16_224", {"depth": 3}, found)
    found = recognise(shapes_of("t2t_vit_14_se"))
    with pytest.raises(UserError, match="but t2t_vit_14 has block_type plain$"):
        check_variant("t2t_vit_14", {}, found)


def test_sizes_that_are_no_variant():
    with pytest.raises(UserError, match="found TNT with depth 3, inner_dim 8, outer_dim 48: no published variant"):
        choose_variant(recognise(shapes_of("tiny_tnt")))


def test_lists_as_in_yaml():
    found = recognise(shapes_of("tiny_pyramid_tnt"))
    structure = {
        "depths": [2, 7, 2, 1],
        "inner_dims": [4, 8, 8, 8],
        "outer_dims": [32, 64, 64, 64],
        "outer_num_heads": [2, 4, 4, 4],
    }
    check_variant("ptnt_s_patch16_256", structure, found)
    with pytest.raises(UserError, match=r"has outer_num_heads \(4, 4, 4, 4\)$"):
        check_variant("ptnt_s_patch16_256", structure | {"outer_num_heads": [4, 4, 4, 4]}, found)


def test_missing_arrays_do_not_hinder():
    """They are reported when the weights are loaded."""
    shapes = shapes_of("t2t_vit_7")
    for name in ("head.weight", "pos_embed", "tokens_to_token.attention1.kqv.weight"):
        del shapes[name]
    found = recognise(shapes)
    assert (found.network, found.num_classes, found.in_channels, found.num_positions) == (T2TViT, None, None, None)
    assert found.square_image_size("t2t_vit_7", {}) == (224, 224)
    check_variant("t2t_vit_7", {}, found)


def test_another_network():
    with pytest.raises(UserError, match=r"expected weights of TNT, .*another network \(conv1.weight, fc.bias, ...\)"):
        recognise({"conv1.weight": (64, 3, 7, 7), "fc.bias": (1000,)})


def test_numbers_of_blocks_are_counted_not_believed():
    shapes = shapes_of("t2t_vit_7") | {"blocks.99999999999999999999.norm1.weight": (256,)}
    assert recognise(shapes).structure["depth"] == 8


def test_what_leaves_no_trace_in_shapes_is_known():
    """Their change gives another network of the same names and shapes, so a conversion has to write them down."""
    changes = {
        "tnt_ti_patch16_224": {"inner_num_heads": 1, "outer_num_heads": 1, "inner_stride": 4},
        "ptnt_ti_patch16_192": {"inner_num_heads": (1, 1, 1, 1), "sr_ratios": (4, 2, 1, 1)},
        "t2t_vit_7": {"num_heads": 1},
        "t2t_vit_dense": {"num_heads": 1},
    }
    for model, change in changes.items():
        assert set(change) <= set(WITHOUT_TRACE)
        assert shapes_in(model) == shapes_in(model, **change)
