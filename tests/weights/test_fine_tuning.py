"""Starting weights, frozen parameters and learning rates by depth."""

from dataclasses import replace

import numpy as np
import pytest
from mindspore import Tensor, nn

from src.engine.train_step import TrainStep
from src.errors import UserError
from src.layers.linear import Linear
from src.layers.norm import BatchNorm2d
from src.optim.optimizer import AdamW
from src.tasks.classification import ClassificationLoss
from src.weights.checkpoint import Checkpoint
from src.weights.described_network import create_network
from src.weights.fine_tuning import freeze, layer_numbers, load_initial_weights, lr_scales
from src.weights.model_card import ModelCard

TNT = {"depth": 2, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 16, "outer_num_heads": 2}


def card(classes="abc", image_size=(32, 32), model="tnt_s_patch16_224", arguments=TNT):
    return ModelCard(model, arguments, list(classes), image_size, 3, (0.5,) * 3, (0.5,) * 3, 0.9)


def checkpoint_of(card):
    net = create_network(card)
    net.head.bias.set_data(Tensor(np.arange(1, len(card.classes) + 1), net.head.bias.dtype))  # told apart from new rows
    return Checkpoint("start.ckpt", {p.name: p.asnumpy().copy() for p in net.get_parameters()}, {}, card, {})


def init_head(start, classes, **options):
    """Lines, and the bias of the head: row i of `start` has i + 1, a new row 0."""
    net = create_network(card(classes))
    lines = load_initial_weights(net, start, card(classes), **options)
    from_start = net.head.bias.asnumpy()
    for row, bias in enumerate(from_start):
        if bias:
            np.testing.assert_array_equal(net.head.weight.asnumpy()[row], start.weights["head.weight"][int(bias) - 1])
    return lines, from_start.tolist()


def values(net):
    return {p.name: p.asnumpy().copy() for p in net.get_parameters()}


def test_a_matching_head_is_taken_over():
    start = checkpoint_of(card())
    net = create_network(card())
    assert load_initial_weights(net, start, card()) == []
    for name, value in values(net).items():
        np.testing.assert_array_equal(value, start.weights[name], err_msg=name)


@pytest.mark.parametrize(
    "there,here,rows,line",
    [
        ("abc", "cab", [3, 1, 2], "the head is taken over by name for 3 of the data's 3 labels"),
        ("abcde", "ca", [3, 1], "the head is taken over by name for 2 of the data's 2 labels"),
        ("abc", "abz", [1, 2, 0], "the head is taken over by name for 2 of the data's 3 labels; it starts anew for z"),
        ("abc", "zbyx", [0, 2, 0, 0], "by name for 1 of the data's 4 labels; it starts anew for z, y, x"),
        (
            "abc",
            "xyz",
            [0, 0, 0],
            "anew: none of the data's 3 labels (x, y, z) is among the 3 of the checkpoint (a, b, c)",
        ),
        ("abc", "xy", [0, 0], "the head starts anew: none of the data's 2 labels"),
        ("aab", "ab", [0, 3], "it starts anew for a"),  # which of the two is meant?
        ("012", "abc", [1, 2, 3], "numbers its 3 labels and does not name them: the head is taken over for the data's"),
        ("012", "201", [3, 1, 2], "the head is taken over by name for 3 of the data's 3 labels"),
        ("012", "ab", [0, 0], "the head starts anew"),
        (["n02012849 crane", "n03126707 crane"], ["n03126707", "eel"], [2, 0], "by name for 1 of the data's 2 labels"),
    ],
)
def test_rows_of_the_head_go_by_name(there, here, rows, line):
    start = checkpoint_of(card(there))
    lines, taken = init_head(start, here)
    assert taken == rows and len(lines) == 1 and line in lines[0]


def test_a_head_is_taken_over_as_it_stands_where_that_is_wanted():
    start = checkpoint_of(card("abc"))
    lines, rows = init_head(start, "xyz", init_head="as_is")
    assert rows == [1, 2, 3] and lines == ["the head is taken over as it stands; the checkpoint's labels: a, b, c"]
    with pytest.raises(UserError, match="the head of start.ckpt has 3 classes and the data 2: leave init_head out"):
        init_head(start, "xy", init_head="as_is")


def test_the_head_of_another_program_is_numbered():
    start = replace(checkpoint_of(card("abc")), card=None)
    lines, rows = init_head(start, "xyz")
    assert rows == [1, 2, 3] and "does not name them" in lines[0]
    assert init_head(start, "wxyz")[1] == [0, 0, 0, 0]


def test_heads_of_another_structure_are_refused():
    other = {**TNT, "outer_num_heads": 4, "inner_num_heads": 1}
    net = create_network(card(arguments=other))
    before = values(net)
    with pytest.raises(
        UserError, match=r"start.ckpt holds another network .*inner_num_heads: 2 and 1; outer_num_heads"
    ):
        load_initial_weights(net, checkpoint_of(card()), card(arguments=other))
    for name, value in values(net).items():
        np.testing.assert_array_equal(value, before[name])


def test_tables_of_another_image_size_are_resized():
    start = checkpoint_of(card(image_size=(32, 32)))
    net = create_network(card(image_size=(32, 64)))
    lines = load_initial_weights(net, start, card(image_size=(32, 64)))
    assert "resized outer_pos: (1, 5, 16) to (1, 9, 16)" in lines
    np.testing.assert_array_equal(values(net)["outer_pos"][0, 0], start.weights["outer_pos"][0, 0])


def test_any_other_difference_is_refused():
    net = create_network(card(arguments={**TNT, "depth": 1}))
    before = values(net)
    start = replace(checkpoint_of(card("abcde")), card=None)
    with pytest.raises(UserError, match=r"start.ckpt does not fit this network: .* 29 unexpected"):
        load_initial_weights(net, start, card(arguments={**TNT, "depth": 1}))
    for name, value in values(net).items():
        np.testing.assert_array_equal(value, before[name])


def test_freeze():
    net = create_network(card())
    assert freeze(net, ["blocks.0.*", "cls_token"])[1] == "froze 1 parameters that match cls_token"
    trainable = {p.name for p in net.trainable_params()}
    assert not any(name.startswith("blocks.0.") for name in trainable) and "cls_token" not in trainable
    assert "blocks.1.proj.weight" in trainable
    with pytest.raises(UserError, match="no parameter matches 'clstoken'; did you mean cls_token"):
        freeze(net, ["clstoken"])
    with pytest.raises(UserError, match="leaves nothing to train"):
        freeze(net, ["*"])


class Normed(nn.Cell):
    """A batch norm and a head: (B, 3, 2, 2) -> (B, 2)."""

    def __init__(self, batch_norm):
        super().__init__()
        self.norm = BatchNorm2d(3, batch_norm)
        self.head = Linear(3, 2)

    def construct(self, x):
        return self.head(self.norm(x).mean((2, 3)))


@pytest.mark.usefixtures("equal_graphs")
@pytest.mark.parametrize(
    "patterns,moving,learning",
    [
        (["head.bias"], True, True),
        (["norm.*"], False, False),
        (["*.gamma", "*.beta"], False, False),
        (["norm.moving_*"], False, True),
        (["norm.moving_mean"], False, True),
        (["norm.gamma"], True, False),
    ],
)
@pytest.mark.parametrize("batch_norm", ["train", "synchronized"])
def test_frozen_batch_norms_keep_their_statistics(patterns, moving, learning, batch_norm):
    """What is frozen has the same bits after a training step, and normalises with its running statistics."""
    net = Normed(batch_norm)
    freeze(net, patterns)
    norm = net.norm
    parameters = [norm.moving_mean, norm.moving_variance, norm.gamma]
    before = [p.asnumpy().copy() for p in parameters]
    step = TrainStep(ClassificationLoss(net), AdamW([{"params": net.trainable_params()}], 0.1), batch_size=2)
    images = Tensor(np.random.default_rng(0).normal(3.0, 2.0, size=(2, 3, 2, 2)).astype(np.float32))
    step(images, Tensor(np.array([0, 1], np.int32)))
    changed = [bool((p.asnumpy() != old).any()) for p, old in zip(parameters, before, strict=True)]
    assert changed == [moving, moving, learning]
    norm.set_train(True)
    trained = norm(images).asnumpy()
    norm.set_train(False)
    assert np.array_equal(trained, norm(images).asnumpy()) is not moving


def test_freezing_the_stem_of_pyramid_tnt_freezes_its_batch_norms():
    arguments = {"depths": [1, 1, 1, 1]}
    net = create_network(card(model="ptnt_ti_patch16_192", arguments=arguments))
    freeze(net, ["patch_embed.*"])
    norms = [cell for _, cell in net.cells_and_names() if isinstance(cell, BatchNorm2d)]
    assert len(norms) == 5 and all(norm.use_batch_statistics is False for norm in norms)


def test_depth_of_tnt():
    numbers = layer_numbers(create_network(card()))
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
    numbers = layer_numbers(create_network(card(model="ptnt_ti_patch16_192", arguments=arguments)))
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
    scales = lr_scales(create_network(card()), layer_decay=0.5, backbone_lr_scale=0.1)
    assert scales["head.weight"] == 1.0
    assert scales["norm.gamma"] == pytest.approx(0.1)
    assert scales["blocks.1.proj.weight"] == pytest.approx(0.05)
    assert scales["cls_token"] == pytest.approx(0.1 * 0.5**3)
    assert "outer_tokens" not in scales  # never trained
