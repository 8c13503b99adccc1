"""What the arguments of the networks may be: kinds and ranges, written once, for whatever they come from.

The ranges are far beyond every published network; they keep out what is a slip or an attack. What several arguments
must fulfil together, such as heads that divide a width, the constructors check.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import UserError, nearest, shown
from ..layers.norm import BATCH_NORM_MODES
from .catalogue import get_variant
from .t2t_blocks import BLOCK_TYPES
from .t2t_tokens import TOKENS_TYPES


class Rule(NamedTuple):
    """What an argument may be.

    Attributes:
        expected: in words, for messages.
        holds: whether a value is such.
    """

    expected: str
    holds: Callable[[Any], bool]


def _whole(low: int, high: int) -> Rule:
    return Rule(f"a whole number from {low} to {high}", lambda v: type(v) is int and low <= v <= high)


def _choice(choices: Sequence[str]) -> Rule:
    return Rule(f"one of {', '.join(choices)}", lambda value: isinstance(value, str) and value in choices)


def _list(of: Rule, shortest: int, longest: int) -> Rule:
    count = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
    return Rule(
        f"a list of {count} entries, each {of.expected}",
        lambda v: isinstance(v, list | tuple) and shortest <= len(v) <= longest and all(map(of.holds, v)),
    )


def _either(*rules: Rule) -> Rule:
    return Rule(" or ".join(rule.expected for rule in rules), lambda value: any(rule.holds(value) for rule in rules))


def _number(expected: str, fits: Callable[[float], bool]) -> Rule:
    """`fits` is written with comparisons, so that NaN fails."""
    return Rule(expected, lambda v: isinstance(v, int | float) and not isinstance(v, bool) and fits(v))


_FLAG = Rule("true or false", lambda value: isinstance(value, bool))
_NONE = Rule("null", lambda value: value is None)
_RATE = _number("a number of at least 0 and below 1", lambda value: 0 <= value < 1)
_RATIO = _number("a number above 0 and at most 64", lambda value: 0 < value <= 64)
_WIDTH = _HEADS = _whole(1, 65536)
_BLOCKS = _whole(1, 1000)
_PIXELS = _whole(1, 1024)
_SIDE = _whole(1, 16384)

RULES: dict[str, Rule] = {
    "image_size": Rule(
        "one side, or height and width, in pixels from 1 to 16384",
        lambda value: _SIDE.holds(value) or _list(_SIDE, 2, 2).holds(value),
    ),
    "in_channels": _whole(1, 1024),
    "num_classes": _whole(0, 1_000_000),
    "patch_size": _PIXELS,
    "inner_stride": _PIXELS,
    "depth": _BLOCKS,
    "inner_dim": _WIDTH,
    "inner_num_heads": _HEADS,
    "outer_dim": _WIDTH,
    "outer_num_heads": _HEADS,
    "inner_blocks": _either(_NONE, _list(_BLOCKS, 0, 1000)),
    "depths": _list(_BLOCKS, 4, 4),
    "inner_dims": _list(_WIDTH, 4, 4),
    "inner_heads": _list(_HEADS, 4, 4),
    "outer_dims": _list(_WIDTH, 4, 4),
    "outer_heads": _list(_HEADS, 4, 4),
    "sr_ratios": _list(_whole(1, 1024), 4, 4),
    "batch_norm": _choice(BATCH_NORM_MODES),
    "tokens_type": _choice(TOKENS_TYPES),
    "token_dim": _WIDTH,
    "token_drop_rate": _RATE,
    "embed_dim": _WIDTH,
    "num_heads": _HEADS,
    "block_type": _choice(BLOCK_TYPES),
    "growth_rate": _WIDTH,
    "block_config": _list(_BLOCKS, 1, 12),
    "mlp_ratio": _RATIO,
    "qkv_bias": _FLAG,
    "se": _FLAG,
    "drop_rate": _RATE,
    "attn_drop_rate": _RATE,
    "drop_path_rate": _RATE,
}
"""By the names of constructor arguments; one name means the same in every network."""


def check_arguments(name: str, arguments: Mapping[str, Any]) -> None:
    """Refuses what the constructor of the variant `name` cannot be given.

    Args:
        name: one of `list_models()`.
        arguments: constructor arguments that replace the variant's.

    Raises:
        UserError: an unknown name or argument (the nearest ones are named), or a value of another kind or range; one
            line that names the argument, what was expected, and what came.
    """
    known = list(inspect.signature(get_variant(name).network.__init__).parameters)[1:]
    for argument, value in arguments.items():
        if not isinstance(argument, str):
            raise UserError(f"{name}: expected the names of arguments, got {shown(argument)}")
        if argument not in known:
            raise UserError(f"{name} has no argument {shown(argument)}; {nearest(argument, known)}")
        if not RULES[argument].holds(value):
            raise UserError(f"{name}: {argument}: expected {RULES[argument].expected}, got {shown(value)}")
