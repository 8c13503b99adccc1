"""What a checkpoint says about the training that wrote it, as far as it is used when the training goes on."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import UserError, shown

_SECTIONS = ("model", "data", "optimizer", "schedule", "train")
_DEEPEST = 10  # levels of a configuration


class _Rule(NamedTuple):
    """What a value must be: in words, and as a function that is false for NaN."""

    expected: str
    holds: Callable[[Any], bool]


def _whole(low: int, high: int) -> _Rule:
    return _Rule(f"a whole number from {low} to {high}", lambda value: type(value) is int and low <= value <= high)


def _number(low: float, high: float) -> _Rule:
    return _Rule(f"a number from {low} to {high}", lambda value: type(value) in (int, float) and low <= value <= high)


def _is_loss(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= 1e300


def _is_shallow(value: Any, deepest: int) -> bool:
    if not isinstance(value, list | tuple | dict):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return deepest > 0 and all(_is_shallow(item, deepest - 1) for item in inner)


def _is_config(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_shallow(value, _DEEPEST)
        and all(isinstance(value.get(section, {}), dict) for section in _SECTIONS)
    )


_RULES = {
    "step": _whole(0, 10**15),
    "epoch": _number(0, 10**15),
    "best_top1": _number(-1, 100),
    "steps_per_epoch": _whole(1, 10**15),
    "losses": _Rule("a list of numbers", lambda value: isinstance(value, list) and all(map(_is_loss, value))),
    "weights": _Rule("raw or ema", lambda value: value in ("raw", "ema")),
    "config": _Rule(f"a configuration, at most {_DEEPEST} levels deep", _is_config),
}


def check_progress(values: Any) -> dict[str, Any]:
    """`values`, where they can be used.

    Args:
        values: of JSON. Any may be missing; what is unknown is not looked at.

    Raises:
        UserError: a value is of another kind or range.
    """
    if not isinstance(values, dict):
        raise UserError(f"expected names and values, got {shown(values)}")
    for name, rule in _RULES.items():
        if name in values and not rule.holds(values[name]):
            raise UserError(f"{name}: expected {rule.expected}, got {shown(values[name])}")
    return values
