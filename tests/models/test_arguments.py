"""Kinds and ranges of constructor arguments: each has a rule, and what breaks it is told on one line."""

import inspect

import pytest

from src.errors import UserError
from src.models import create_model, get_variant, list_models, resolve_arguments
from src.models.arguments import RULES, check_arguments, rules_of

NETWORKS = list(dict.fromkeys(get_variant(name).network for name in list_models()))


@pytest.mark.parametrize("network", NETWORKS)
def test_every_constructor_argument_has_a_rule_that_its_default_fulfils(network):
    parameters = inspect.signature(network.__init__).parameters
    rules = rules_of(parameters)
    for parameter in list(parameters.values())[1:]:
        assert parameter.name in rules, f"{network.__name__}: {parameter.name} needs a rule in src/models/arguments.py"
        assert rules[parameter.name].holds(parameter.default)


def test_heads_have_one_name_and_are_one_number_or_one_for_each_stage():
    for heads in ("inner_num_heads", "outer_num_heads"):
        for name, right, wrong in (
            ("tnt_s_patch16_224", 2, [1, 2, 4, 4]),
            ("ptnt_s_patch16_256", [1, 2, 4, 4], 2),
        ):
            check_arguments(name, {heads: right})
            with pytest.raises(UserError, match=f"{name}: {heads}: expected "):
                check_arguments(name, {heads: wrong})


def test_no_rule_is_left_over():
    used = {name for network in NETWORKS for name in inspect.signature(network.__init__).parameters}
    assert set(RULES) <= used


@pytest.mark.parametrize("name", list_models())
def test_what_is_published_passes(name):
    arguments = {**get_variant(name).structure, "image_size": (64, 96), "num_classes": 0}
    check_arguments(name, arguments)
    check_arguments(name, {key: list(v) if isinstance(v, tuple) else v for key, v in arguments.items()})  # from JSON


WRONG = [
    ({"depth": "many"}, "depth: expected a whole number from 1 to 1000, got 'many'"),
    ({"depth": -1}, "depth: expected a whole number from 1 to 1000, got -1"),
    ({"depth": 10**8}, "depth: expected a whole number from 1 to 1000, got 100000000"),
    ({"depth": 10**5000}, "depth: expected a whole number from 1 to 1000, got a number of thousands of digits"),
    ({"depth": True}, "depth: expected a whole number from 1 to 1000, got True"),
    ({"depth": 12.0}, "depth: expected a whole number from 1 to 1000, got 12.0"),
    ({"depth": None}, "depth: expected a whole number from 1 to 1000, got None"),
    ({"outer_num_heads": 0}, "outer_num_heads: expected a whole number from 1 to 65536, got 0"),
    ({"outer_dim": [384]}, "outer_dim: expected a whole number from 1 to 65536, got [384]"),
    ({"inner_blocks": 3}, "inner_blocks: expected null or a list of 0 to 1000 entries, .*, got 3"),
    ({"inner_blocks": [1, [2]]}, "inner_blocks: expected null or a list .*, got [1, [2]]"),
    ({"inner_blocks": "12"}, "inner_blocks: expected null or a list .*, got '12'"),
    ({"mlp_ratio": float("nan")}, "mlp_ratio: expected a number above 0 and at most 64, got nan"),
    ({"mlp_ratio": 10**400}, "mlp_ratio: expected a number above 0 and at most 64, got 1000*...0*"),
    ({"mlp_ratio": {"a": 1}}, "mlp_ratio: expected a number above 0 and at most 64, got {'a': 1}"),
    ({"qkv_bias": 1}, "qkv_bias: expected true or false, got 1"),
    ({"drop_rate": 1}, "drop_rate: expected a number of at least 0 and below 1, got 1"),
    ({"image_size": 1600000}, "image_size: expected one side, .* from 1 to 16384, got 1600000"),
    ({"image_size": [32, "\n\x1b[31m"]}, r"image_size: expected one side, .*, got [32, '\\n\\x1b[31m']"),
    ({"in_channels": 10**9}, "in_channels: expected a whole number from 1 to 1024, got 1000000000"),
    ({"self": 3, "name": "x"}, " has no argument 'self'; did you mean se"),
    ({"name": "x"}, " has no argument 'name'; known: "),
    ({"x\n" * 10**5: 1}, r" has no argument 'x\\nx.*'; known: "),
]


@pytest.mark.parametrize("arguments,message", WRONG)
def test_what_breaks_a_rule_is_told_on_one_line(arguments, message):
    pattern = message.replace("[", r"\[").replace("{", r"\{").replace("(", r"\(")
    for use in (
        lambda: create_model("tnt_s_patch16_224", **arguments),
        lambda: resolve_arguments("tnt_s_patch16_224", arguments),
    ):
        with pytest.raises(UserError, match=pattern) as error:
            use()
        assert str(error.value).isprintable() and len(str(error.value)) < 500


def test_names_that_are_none():
    with pytest.raises(UserError, match="expected the names of arguments, got 1"):
        check_arguments("tnt_s_patch16_224", {1: 2})
    with pytest.raises(UserError, match="expected the name of a model, got 7"):
        check_arguments(7, {})
    with pytest.raises(UserError, match=r"unknown model .x+\.\.\.x+.; known: "):
        check_arguments("x" * 10**6, {})


def test_lists_have_their_length():
    for value in ([1, 2, 3], [1, 2, 3, 0], "1234", (1,) * 5):
        with pytest.raises(UserError, match="depths: expected a list of 4 entries, each a whole number from 1 to 1000"):
            check_arguments("ptnt_s_patch16_256", {"depths": value})
    with pytest.raises(UserError, match="block_config: expected a list of 1 to 12 entries"):
        check_arguments("t2t_vit_dense", {"block_config": [1] * 13})


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("tnt_s_patch16_224", {"mlp_ratio": 0.001}),
        ("tnt_s_patch16_224", {"se": True, "outer_dim": 2, "outer_num_heads": 1}),
        ("t2t_vit_14_se", {"embed_dim": 12, "num_heads": 1}),
        ("t2t_vit_dense", {"embed_dim": 1, "growth_rate": 1, "num_heads": 1, "mlp_ratio": 0.5}),
    ],
)
def test_widths_that_vanish(name, arguments):
    with pytest.raises(UserError, match="^a layer from a width of [0-9]+ to one of 0 cannot be: make"):
        create_model(name, **arguments)
