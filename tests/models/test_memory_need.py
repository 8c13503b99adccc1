"""Sizes that are told before a network is built."""

import pytest
from mindspore.nn.utils import no_init_parameters

from src import memory
from src.errors import UserError
from src.models import create_model, get_variant, list_models, resolve_arguments
from src.models.memory_need import num_activations, num_weights
from tests.models.test_models import COUNTS


def weights(name, arguments):
    return num_weights(get_variant(name).network, resolve_arguments(name, arguments))


@pytest.mark.parametrize("name, arguments, parameters", [count[:3] for count in COUNTS])
def test_weights_are_a_little_less_than_the_parameters(name, arguments, parameters):
    assert 0.93 * parameters <= weights(name, arguments) <= parameters


@pytest.mark.parametrize("name", list_models("t2t*"))
def test_weights_of_t2t(name):
    with no_init_parameters():
        parameters = sum(p.size for p in create_model(name).get_parameters())
    assert 0.92 * parameters <= weights(name, {}) <= parameters


def test_activations_by_hand():
    def count(name, **arguments):
        return sum(num_activations(get_variant(name).network, resolve_arguments(name, arguments)))

    tiny = {"depth": 2, "inner_blocks": [1], "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 8, "outer_num_heads": 2}
    outer = 18 * 8 * 8 + 2 * 2 * 8 * 8  # 8 sentences, 8 wide, 2 heads
    inner = 18 * 8 * 16 * 4 + 2 * 8 * 2 * 16 * 16  # 16 words of each sentence, 4 wide, 2 heads
    assert count("tnt_s_patch16_224", image_size=(32, 64), **tiny) == 2 * outer + inner
    plain = {"depth": 1, "embed_dim": 8, "num_heads": 2, "token_dim": 4, "image_size": (32, 64), "mlp_ratio": 2}
    blocks, tokens = 14 * 8 * 8 + 2 * 2 * 8 * 8, 128 * (2 * 147 + 40) + 32 * (2 * 36 + 40)
    assert count("t2t_vit_7", **plain) == blocks + tokens
    assert count("t2t_vit_t_14", **plain) == blocks + tokens + 2 * (128 * 128 + 32 * 32)
    assert count("t2t_vit_7", **plain, tokens_type="patch") == blocks
    growing = {**plain, "growth_rate": 4, "block_config": [2, 1]}
    del growing["depth"]  # 8, 12 and (16 / 2 =) 8 wide
    assert count("t2t_vit_dense", **growing) == 14 * 8 * (8 + 12 + 8) + 3 * 2 * 2 * 8 * 8 + tokens


@pytest.mark.parametrize(  # megabytes an image more took, in training and in evaluation (MindSpore 2.10, CPU)
    "name, training, evaluation",
    [("ptnt_ti_patch16_192", 64.7, 18.9), ("tnt_ti_patch16_224", 190, 40.0), ("t2t_vit_7", 147, 39.4)],
)
def test_activations_are_less_than_was_measured(name, training, evaluation):
    blocks = num_activations(get_variant(name).network, resolve_arguments(name, {}))
    assert 0.4 * training < 1.5 * sum(blocks) * 4 / 1e6 < 0.8 * training
    assert 0.35 * sum(blocks) * 4 / 1e6 < 0.8 * evaluation
    assert max(blocks) * 4 / 1e6 < 0.5 * evaluation


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("tnt_s_patch16_224", {"depth": 1000, "outer_dim": 65536, "outer_num_heads": 1}),
        ("tnt_s_patch16_224", {"image_size": 16384, "outer_dim": 65280, "depth": 1}),
        ("ptnt_s_patch16_256", {"image_size": 16384}),
        ("ptnt_s_patch16_256", {"outer_dims": [65536] * 4, "depths": [1000] * 4}),
        ("t2t_vit_14", {"embed_dim": 65536, "depth": 1000, "num_heads": 1}),
        ("t2t_vit_dense", {"growth_rate": 65536, "block_config": [1000] * 12}),
    ],
)
def test_networks_that_cannot_fit_are_refused_at_once(name, arguments):
    with pytest.raises(UserError, match=f"^the weights of {name} of this structure would take at least [0-9,.]+ GB of"):
        create_model(name, **arguments)


def test_the_limit_is_the_machines(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 4 * weights("tnt_ti_patch16_224", {}))
    with no_init_parameters():
        create_model("tnt_ti_patch16_224")
        with pytest.raises(UserError, match="make it smaller"):
            create_model("tnt_ti_patch16_224", num_classes=1001)


def test_memory_of_this_machine():
    assert 10**8 < memory.machine_memory() < 10**15
    memory.check_fits(memory.machine_memory(), "all of it", "")
    with pytest.raises(
        UserError, match="^more would take at least [0-9.]+ GB of memory, and this machine has [0-9.]+ GB; "
    ):
        memory.check_fits(memory.machine_memory() + 1, "more", "take less")
