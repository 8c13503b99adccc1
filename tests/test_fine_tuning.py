"""Starting weights, frozen parameters and learning rates by depth."""

import numpy as np
import pytest

from src.checkpoint import Checkpoint
from src.errors import UserError
from src.fine_tuning import freeze, layer_numbers, load_initial_weights, lr_scales
from src.model_card import ModelCard

TNT = {"depth": 2, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 16, "outer_num_heads": 2}


def card(classes=3, image_size=(32, 32), model="tnt_s_patch16_224", arguments=TNT):
    return ModelCard(model, arguments, [str(i) for i in range(classes)], image_size, 3, (0.5,) * 3, (0.5,) * 3, 0.9)


def checkpoint_of(card):
    net = card.create_network()
    return Checkpoint("start.ckpt", {p.name: p.asnumpy().copy() for p in net.get_parameters()}, {}, card, {})


def values(net):
    return {p.name: p.asnumpy().copy() for p in net.get_parameters()}


def test_a_matching_head_is_taken_over():
    start = checkpoint_of(card())
    net = card().create_network()
    assert load_initial_weights(net, start) == []
    for name, value in values(net).items():
        np.testing.assert_array_equal(value, start.weights[name], err_msg=name)


def test_a_head_of_another_size_keeps_its_own_weights_and_is_named():
    start = checkpoint_of(card(classes=5))
    net = card().create_network()
    head = values(net)["head.weight"]
    lines = load_initial_weights(net, start)
    assert lines == [
        "left out head.weight: (5, 16), this run needs (3, 16)",
        "left out head.bias: (5,), this run needs (3,)",
    ]
    np.testing.assert_array_equal(values(net)["head.weight"], head)
    np.testing.assert_array_equal(values(net)["blocks.1.proj.weight"], start.weights["blocks.1.proj.weight"])


def test_tables_of_another_image_size_are_resized():
    start = checkpoint_of(card(image_size=(32, 32)))
    net = card(image_size=(32, 64)).create_network()
    lines = load_initial_weights(net, start)
    assert "resized outer_pos: (1, 5, 16) to (1, 9, 16)" in lines
    np.testing.assert_array_equal(values(net)["outer_pos"][0, 0], start.weights["outer_pos"][0, 0])


def test_any_other_difference_is_refused():
    net = card(arguments={**TNT, "depth": 1}).create_network()
    before = values(net)
    with pytest.raises(UserError, match=r"start.ckpt does not fit this network: .* 29 unexpected"):
        load_initial_weights(net, checkpoint_of(card(classes=5)))
    for name, value in values(net).items():
        np.testing.assert_array_equal(value, before[name])


def test_freeze():
    net = card().create_network()
    assert freeze(net, ["blocks.0.*", "cls_token"])[1] == "froze 1 parameters that match cls_token"
    trainable = {p.name for p in net.trainable_params()}
    assert not any(name.startswith("blocks.0.") for name in trainable) and "cls_token" not in trainable
    assert "blocks.1.proj.weight" in trainable
    with pytest.raises(UserError, match="no parameter matches 'clstoken'; did you mean cls_token"):
        freeze(net, ["clstoken"])
    with pytest.raises(UserError, match="leaves nothing to train"):
        freeze(net, ["*"])


def test_depth_of_tnt():
    numbers = layer_numbers(card().create_network())
    names = (
        "outer_pos",
        "patch_embed.proj.weight",
        "blocks.0.proj.weight",
        "blocks.1.proj.weight",
        "norm.gamma",
        "head.bias",
    )
    assert [numbers[name] for name in names] == [0, 0, 1, 2, 3, 3]


def test_depth_of_pyramid_tnt():
    """Two blocks in the second stage: the merges before it are as deep as its first block."""
    arguments = {"depths": [1, 2, 1, 1]}
    numbers = layer_numbers(card(model="ptnt_ti_patch16_192", arguments=arguments).create_network())
    expected = {
        "patch_embed.common_conv.0.weight": 0,
        "stages.0.relative_pos": 1,
        "sentence_merges.0.conv.0.weight": 2,
        "stages.1.relative_pos": 2,
        "stages.1.blocks.1.outer_norm1.gamma": 3,
        "word_merges.2.norm.gamma": 5,
        "stages.3.blocks.0.proj.weight": 5,
        "head.weight": 6,
    }
    assert {name: numbers[name] for name in expected} == expected


def test_learning_rate_scales():
    scales = lr_scales(card().create_network(), layer_decay=0.5, backbone_lr_scale=0.1)
    assert scales["head.weight"] == 1.0
    assert scales["norm.gamma"] == pytest.approx(0.1)
    assert scales["blocks.1.proj.weight"] == pytest.approx(0.05)
    assert scales["cls_token"] == pytest.approx(0.1 * 0.5**3)
    assert "outer_tokens" not in scales  # never trained
