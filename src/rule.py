"""What a value from outside must be, in words and as a test, written once for whatever it comes from.

Numbers are compared so that NaN fails, and true and false are no numbers.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args


class Rule(NamedTuple):
    """What a value may be.

    Attributes:
        expected: in words, for messages.
        holds: whether a value is such.
    """

    expected: str
    holds: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole(low: int, high: int) -> Rule:
    return Rule(f"a whole number from {low} to {high}", lambda value: type(value) is int and low <= value <= high)


def number(low: float, high: float) -> Rule:
    return Rule(f"a number from {low} to {high}", lambda value: is_number(value) and low <= value <= high)


def choice(choices: Sequence[str]) -> Rule:
    return Rule(f"one of {', '.join(choices)}", lambda value: isinstance(value, str) and value in choices)


def list_of(of: Rule, shortest: int, longest: int) -> Rule:
    count = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
    return Rule(
        f"a list of {count} entries, each {of.expected}",
        lambda v: isinstance(v, list | tuple) and shortest <= len(v) <= longest and all(map(of.holds, v)),
    )


def either(*rules: Rule) -> Rule:
    return Rule(" or ".join(rule.expected for rule in rules), lambda value: any(rule.holds(value) for rule in rules))


IMAGE_SIDE = whole(1, 16384)
NUM_CHANNELS = whole(1, 1024)
NUM_CLASSES = whole(0, 1_000_000)
"""Sizes that every network has. Far beyond what is published; they keep out what is a slip or an attack."""

DataSource = Literal[
    "digits", "folder", "list", "mindrecord", "cifar10", "cifar100", "oxford_pets", "flowers102", "coco"
]
OnBadImage = Literal["error", "skip"]
BatchNormMode = Literal["train", "synchronized", "eval", "frozen"]
Precision = Literal["float32", "float16", "bfloat16"]
LossName = Literal["cross_entropy", "bce", "focal"]
ClassBalance = Literal["none", "sqrt", "full"]
DistillationForm = Literal["soft", "hard"]
"""Names that several rooms know, in the order of messages; each says there what they mean."""


def names_of(choices: Any) -> tuple[str, ...]:
    """The names of one of the types above."""
    return get_args(choices)
