"""What the arguments of the networks may be: kinds and ranges, written once, for whatever they come from.

The ranges are far beyond every published network; they keep out what is a slip or an attack. What several arguments
must fulfil together, such as heads that divide a width, the constructors check.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..config.known_names import sentence
from ..errors import UserError, nearest, shown
from ..layers.norm import BATCH_NORM_MODES
from ..rule import IMAGE_SIDE, NUM_CHANNELS, NUM_CLASSES, Rule, choice, either, is_number, list_of, whole
from .catalogue import get_variant
from .t2t_blocks import BLOCK_TYPES
from .t2t_tokens import TOKENS_TYPES


def _number(expected: str, fits: Callable[[float], bool]) -> Rule:
    """`fits` is written with comparisons, so that NaN fails."""
    return Rule(expected, lambda value: is_number(value) and fits(value))


_FLAG = Rule("true or false", lambda value: isinstance(value, bool))
_NONE = Rule("null", lambda value: value is None)
_RATE = _number("a number of at least 0 and below 1", lambda value: 0 <= value < 1)
_RATIO = _number("a number above 0 and at most 64", lambda value: 0 < value <= 64)
_WIDTH = _HEADS = whole(1, 65536)
_BLOCKS = whole(1, 1000)
_PIXELS = whole(1, 1024)

_IMAGE = Rule(
    "one side, or height and width, in pixels from 1 to 16384",
    lambda value: IMAGE_SIDE.holds(value) or list_of(IMAGE_SIDE, 2, 2).holds(value),
)

RULES: dict[str, Rule] = {
    "image_size": _IMAGE,
    "in_channels": NUM_CHANNELS,
    "num_classes": NUM_CLASSES,
    "patch_size": _PIXELS,
    "inner_stride": _PIXELS,
    "depth": _BLOCKS,
    "inner_dim": _WIDTH,
    "inner_num_heads": _HEADS,
    "outer_dim": _WIDTH,
    "outer_num_heads": _HEADS,
    "inner_blocks": either(_NONE, list_of(_BLOCKS, 0, 1000)),
    "depths": list_of(_BLOCKS, 4, 4),
    "inner_dims": list_of(_WIDTH, 4, 4),
    "outer_dims": list_of(_WIDTH, 4, 4),
    "sr_ratios": list_of(whole(1, 1024), 4, 4),
    "table_size": either(_NONE, _IMAGE),
    "relative_pos": list_of(_FLAG, 4, 4),
    "batch_norm": choice(BATCH_NORM_MODES),
    "tokens_type": choice(TOKENS_TYPES),
    "token_dim": _WIDTH,
    "token_drop_rate": _RATE,
    "embed_dim": _WIDTH,
    "num_heads": _HEADS,
    "block_type": choice(BLOCK_TYPES),
    "growth_rate": _WIDTH,
    "block_config": list_of(_BLOCKS, 1, 12),
    "mlp_ratio": _RATIO,
    "qkv_bias": _FLAG,
    "se": _FLAG,
    "drop_rate": _RATE,
    "attn_drop_rate": _RATE,
    "drop_path_rate": _RATE,
}
"""By the names of constructor arguments; one name means the same in every network."""

_PER_STAGE = {name: list_of(_HEADS, 4, 4) for name in ("inner_num_heads", "outer_num_heads")}
"""What networks of four stages have once for each."""


def rules_of(arguments: Collection[str]) -> dict[str, Rule]:
    """The rules of a network.

    Args:
        arguments: names of all that its constructor takes.
    """
    return RULES | _PER_STAGE if "depths" in arguments else RULES


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
    rules = rules_of(known)
    for argument, value in arguments.items():
        if not isinstance(argument, str):
            raise UserError(f"{name}: expected the names of arguments, got {shown(argument)}")
        if argument not in known:
            advice = sentence(argument) or nearest(argument, known)
            raise UserError(f"{name} has no argument {shown(argument)}; {advice}")
        if not rules[argument].holds(value):
            raise UserError(f"{name}: {argument}: expected {rules[argument].expected}, got {shown(value)}")
