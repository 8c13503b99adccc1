"""Cells that share graphs train to the same weights as cells that do not."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.compilation.mixed_precision import set_precision
from src.compilation.recompute import recompute_blocks
from src.compilation.shared_graphs import share_graphs
from src.config import Config
from src.engine import from_config
from src.layers.random_mask import number_masks
from src.models import create_model
from src.optim.loss import create_loss
from src.tasks.classification import ClassificationLoss

TINY = {
    "tnt_s_patch16_224": {
        "image_size": 32,
        "depth": 3,
        "inner_dim": 4,
        "inner_num_heads": 2,
        "outer_dim": 16,
        "outer_num_heads": 2,
    },
    "ptnt_ti_patch16_192": {
        "image_size": 64,
        "depths": (1, 3, 1, 1),
        "inner_dims": (4, 8, 8, 8),
        "inner_num_heads": (1, 2, 2, 2),
        "outer_dims": (8, 16, 16, 16),
        "outer_num_heads": (2, 4, 4, 4),
    },
    "t2t_vit_7": {"image_size": 32, "depth": 3, "embed_dim": 16, "num_heads": 2, "token_dim": 8},
}


def sharing(net):
    """Names of the cells that share, by the graph that they share."""
    groups = {}
    for name, cell in net.cells_and_names():
        if getattr(cell, "no_inline", None) is False:
            groups.setdefault(cell.cell_init_args, set()).add(name)
    return sorted(map(sorted, groups.values()))


def create(model, **arguments):
    ms.set_seed(1)
    return create_model(model, **{**TINY[model], "num_classes": 5, **arguments})


def train(net, precision="float32", steps=3):
    """Losses of a few steps."""
    config = Config()
    config.train.batch_size, config.train.precision = 4, precision
    step = from_config.create_train_step(config, ClassificationLoss(net, create_loss(label_smoothing=0.1)), net, 1e-3)
    rng = np.random.default_rng(0)
    images = ms.Tensor(rng.standard_normal((4, 3, *net.image_size), np.float32))
    return [step(images, ms.Tensor(np.arange(4, dtype=np.int32))).asnumpy().item() for _ in range(steps)]


@pytest.mark.parametrize(
    "model,arguments,precision",
    [
        *((model, {"drop_path_rate": 0.3}, "float32") for model in TINY if not model.startswith("ptnt")),
        pytest.param("ptnt_ti_patch16_192", {"drop_path_rate": 0.3}, "float32", marks=pytest.mark.slow),
        pytest.param(
            "tnt_s_patch16_224",
            {"drop_path_rate": 0.3, "drop_rate": 0.2, "attn_drop_rate": 0.2},
            "float16",
            marks=pytest.mark.slow,
        ),
        pytest.param("tnt_s_patch16_224", {}, "float32", marks=pytest.mark.slow),
    ],
)
def test_training_is_the_same_without_sharing(model, arguments, precision, monkeypatch):
    arguments |= {"depths": (1, 2, 1, 1)} if model.startswith("ptnt") else {"depth": 2}
    net = create(model, **arguments)
    losses = train(net, precision)
    assert sharing(net)
    monkeypatch.setattr(from_config, "share_graphs", lambda net: None)
    other = create(model, **arguments)
    assert train(other, precision) == pytest.approx(losses, rel=1e-6 if precision == "float32" else 1e-3)
    assert not sharing(other)
    if precision == "float32":
        for ours, theirs in zip(net.get_parameters(), other.get_parameters(), strict=True):
            np.testing.assert_allclose(ours.asnumpy(), theirs.asnumpy(), atol=2e-5, err_msg=ours.name)


@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=[pytest.mark.slow] if name.startswith("ptnt") else []) for name in TINY]
)
def test_in_inference_every_network_has_its_own_weights_and_sizes(model):
    """Several in a process, whose cells are equal and share."""
    nets = [create(model), create(model), create(model, image_size=2 * TINY[model]["image_size"])]
    rng = np.random.default_rng(0)
    for net in nets:
        net.set_train(False)
        for parameter in net.get_parameters():
            parameter.set_data(ms.Tensor(rng.normal(0, 0.3, parameter.shape).astype(np.float32) ** 2))
        share_graphs(net)
        assert sharing(net)
    images = [ms.Tensor(rng.standard_normal((2, 3, *net.image_size), np.float32)) for net in nets]
    compiled = [net(x).asnumpy() for net, x in zip(nets, images, strict=True)]
    assert np.abs(compiled[0] - nets[1](images[0]).asnumpy()).max() > 0.01
    ms.set_context(mode=ms.PYNATIVE_MODE)
    for net, x, found in zip(nets, images, compiled, strict=True):
        np.testing.assert_allclose(found, net(x).asnumpy(), rtol=1e-4, atol=1e-4)


def test_only_equal_cells_at_the_same_place_share():
    net = create("tnt_s_patch16_224", drop_path_rate=0.3)
    share_graphs(net)
    groups = sharing(net)
    assert [f"blocks.{i}.outer_attn" for i in range(3)] in groups
    assert all(len({name.split(".", 2)[2] for name in group}) == 1 for group in groups)

    net = create("tnt_s_patch16_224")  # no stochastic depth: whole blocks are equal
    share_graphs(net)
    assert sharing(net) == [[f"blocks.{i}" for i in range(3)]]


@pytest.mark.parametrize("what", ["masks", "frozen", "precision", "derivative"])
def test_what_makes_cells_different(what):
    net = create("tnt_s_patch16_224", drop_path_rate=0.3, drop_rate=0.2 if what == "masks" else 0.0)
    number_masks(net)
    mlp = net.blocks[1].outer_mlp
    if what == "frozen":
        mlp.fc1.weight.requires_grad = False
    elif what == "precision":
        set_precision(mlp, "float16", "CPU")
    elif what == "derivative":
        mlp.act.has_custom_gradient = False
    share_graphs(net)
    groups = sharing(net)
    expected = [] if what == "masks" else [["blocks.0.outer_mlp", "blocks.2.outer_mlp"]]
    assert [group for group in groups if group[0].endswith("outer_mlp")] == expected


@pytest.mark.slow
def test_recomputed_blocks_share():
    net = create("tnt_s_patch16_224", drop_path_rate=0.3)
    recompute_blocks(net)
    losses = train(net)
    assert sharing(net)
    assert losses == pytest.approx(train(create("tnt_s_patch16_224", drop_path_rate=0.3)), rel=1e-5)


def test_a_cell_of_unknown_content_is_left_alone():
    net = create("tnt_s_patch16_224", drop_path_rate=0.3)
    for block in net.blocks:
        block.outer_mlp.fc1.note = {"anything": object()}
    share_graphs(net)
    assert not any(name.endswith(("outer_mlp", "fc1")) for group in sharing(net) for name in group)
    assert isinstance(net.blocks[0].outer_mlp.fc1, nn.Dense)
