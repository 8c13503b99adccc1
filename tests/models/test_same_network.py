"""Arguments that change a network's function and leave no trace in shapes."""

import pytest

from src.errors import UserError
from src.models.same_network import network_differences

S = "tnt_s_patch16_224"


@pytest.mark.parametrize(
    "model,one,other",
    [
        (S, {}, {"outer_num_heads": 6}),  # the default, spelt out
        (S, {"inner_blocks": [1, 2, 3], "depth": 3}, {"depth": 3}),
        (S, {"drop_path_rate": 0.1}, {}),
        ("ptnt_s_patch16_256", {"sr_ratios": [4, 2, 1, 1], "batch_norm": "eval"}, {}),
        ("t2t_vit_14", {"token_drop_rate": 0.0}, {}),
    ],
)
def test_the_same_function(model, one, other):
    assert network_differences(model, one, model, other) == []
    assert network_differences(model, other, model, one) == []


@pytest.mark.parametrize(
    "model,change,named",
    [
        (S, {"outer_num_heads": 1, "inner_num_heads": 1}, ["inner_num_heads: 4 and 1", "outer_num_heads: 6 and 1"]),
        (S, {"se": True}, ["se: False and True"]),
        (S, {"inner_blocks": [1]}, ["inner_blocks: None and (1)"]),
        (S, {"inner_stride": 2}, ["inner_stride: 4 and 2"]),
        ("ptnt_s_patch16_256", {"sr_ratios": [4, 2, 1, 2]}, ["sr_ratios: (4, 2, 1, 1) and (4, 2, 1, 2)"]),
        ("ptnt_s_patch16_256", {"inner_num_heads": [1, 4, 8, 8]}, ["inner_num_heads: (2, 4, 8, 8) and (1, 4, 8, 8)"]),
        ("t2t_vit_14", {"num_heads": 12}, ["num_heads: 6 and 12"]),
        ("t2t_vit_14", {"block_type": "se"}, ["block_type: plain and se"]),
    ],
)
def test_another_function(model, change, named):
    assert network_differences(model, {}, model, change) == named


def test_other_variants():
    assert network_differences(S, {}, "t2t_vit_14", {}) == [f"model: {S} and t2t_vit_14"]
    assert network_differences("t2t_vit_14", {}, "t2t_vit_14_resnext", {}) == [
        "model: t2t_vit_14 and t2t_vit_14_resnext",
        "num_heads: 6 and 32",
    ]
    tiny = {"depth": 1, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 16, "outer_num_heads": 2}
    assert network_differences(S, tiny, "tnt_ti_patch16_224", tiny) == []  # two names for one network


def test_an_unknown_argument_is_refused():
    with pytest.raises(UserError, match="no argument 'dept'; did you mean depth"):
        network_differences(S, {}, S, {"dept": 3})
