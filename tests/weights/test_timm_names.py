"""timm's names for the authors' TNT."""

import numpy as np
import pytest

from src.errors import UserError
from src.weights.timm_names import from_timm, is_timm, to_timm

# timm's name, the authors' name: outside of blocks, and behind "blocks.N."
OUTSIDE = [
    ("cls_token", "cls_token"),
    ("patch_pos", "outer_pos"),
    ("pixel_pos", "inner_pos"),
    ("pixel_embed.proj.weight", "patch_embed.proj.weight"),
    ("pixel_embed.proj.bias", "patch_embed.proj.bias"),
    ("norm1_proj.weight", "proj_norm1.weight"),
    ("proj.weight", "proj.weight"),
    ("proj.bias", "proj.bias"),
    ("norm2_proj.bias", "proj_norm2.bias"),
    ("norm.weight", "norm.weight"),
    ("head.weight", "head.weight"),
    ("head.bias", "head.bias"),
]
INSIDE = [
    ("norm_in.weight", "inner_norm1.weight"),
    ("attn_in.qk.weight", "inner_attn.qk.weight"),
    ("attn_in.v.weight", "inner_attn.v.weight"),
    ("attn_in.proj.bias", "inner_attn.proj.bias"),
    ("norm_mlp_in.bias", "inner_norm2.bias"),
    ("mlp_in.fc1.weight", "inner_mlp.fc1.weight"),
    ("norm1_proj.weight", "proj_norm1.weight"),
    ("proj.weight", "proj.weight"),
    ("norm2_proj.weight", "proj_norm2.weight"),
    ("norm_out.weight", "outer_norm1.weight"),
    ("attn_out.qk.weight", "outer_attn.qk.weight"),
    ("norm_mlp.weight", "outer_norm2.weight"),
    ("mlp.fc2.bias", "outer_mlp.fc2.bias"),
]
TOP = ["inner_pos", "outer_pos", "patch_embed.proj.weight"]
ALL = OUTSIDE + [(f"blocks.11.{theirs}", f"blocks.11.{ours}") for theirs, ours in INSIDE]


def test_every_name():
    weights = {theirs: np.array([number]) for number, (theirs, _) in enumerate(ALL)}
    assert is_timm(weights)
    renamed, names = from_timm(weights)
    assert list(renamed) == [ours for _, ours in ALL]
    assert all(renamed[ours] is weights[theirs] for theirs, ours in ALL)
    assert names == {ours: theirs for theirs, ours in ALL}
    assert not is_timm(renamed)


def test_word_table():
    """Word (row 2, column 1) of 4 x 4 is word 9; channels come last."""
    table = np.arange(3 * 16).reshape(1, 3, 4, 4)
    renamed, _ = from_timm({"pixel_pos": table})
    assert renamed["inner_pos"].shape == (1, 16, 3)
    np.testing.assert_array_equal(renamed["inner_pos"][0, 9], table[0, :, 2, 1])


def test_and_back():
    ours = {name: np.array([number]) for number, (_, name) in enumerate(ALL)}
    ours |= {"inner_pos": np.arange(48).reshape(1, 16, 3), "outer_tokens": np.zeros(3)}
    written = to_timm(ours)
    assert list(written) == [theirs for theirs, _ in ALL]
    assert all(written[theirs] is ours[name] for theirs, name in ALL if name != "inner_pos")
    np.testing.assert_array_equal(written["pixel_pos"][0, :, 2, 1], ours["inner_pos"][0, 9])


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["cls_token", "pos_embed"], "timm has TNT only"),
        (["inner_pos", "outer_pos", "patch_embed.common_conv.0.weight"], "timm has TNT only"),
        ([*TOP, "blocks.0.inner_norm1.weight", "blocks.0.se_layer.fc.0.weight"], "squeeze-and-excitation"),
        ([*TOP, "blocks.0.outer_norm1.weight"], "lack the inner transformer"),
    ],
)
def test_what_timm_does_not_have(names, reason):
    with pytest.raises(UserError, match=reason):
        to_timm({name: np.zeros(1) for name in names})


def test_legacy_network_is_refused_with_the_reason():
    with pytest.raises(UserError, match="legacy TNT .* another function: it convolves the whole image before cutting"):
        from_timm({"patch_pos": np.zeros(1), "blocks.0.proj.bias": np.zeros(1)})


def test_mixed_names():
    with pytest.raises(UserError, match="are mixed"):
        from_timm({"patch_pos": np.zeros(1), "outer_pos": np.zeros(1)})
