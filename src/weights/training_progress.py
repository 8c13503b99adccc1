"""What a checkpoint says about the training that wrote it, as far as it is used when the training goes on."""

from typing import Any

from ..errors import UserError, shown
from ..rule import Rule, is_number, number, whole

_SECTIONS = ("model", "data", "optimizer", "schedule", "train")
_DEEPEST = 10  # levels of a configuration
_MOST_FACTS, _LONGEST_FACT = 20, 200  # about the data; characters of one


def _is_finite(value: Any) -> bool:
    return is_number(value) and abs(value) <= 1e300


def _are_losses(value: Any) -> bool:
    """Whether a value is the losses of some steps: a number or a few each."""
    return isinstance(value, list) and all(
        all(map(_is_finite, step)) if isinstance(step, list) else _is_finite(step) for step in value
    )


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


def _are_few_plain_values(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= _MOST_FACTS
        and all(_is_finite(fact) or (isinstance(fact, str) and len(fact) <= _LONGEST_FACT) for fact in value.values())
    )


_RULES = {
    "step": whole(0, 10**15),
    "epoch": number(0, 10**15),
    "best_score": Rule("a number", _is_finite),
    "best_tie": Rule("a number", _is_finite),
    "steps_per_epoch": whole(1, 10**15),
    "losses": Rule("a list of numbers", _are_losses),
    "weights": Rule("raw or ema", lambda value: value in ("raw", "ema")),
    "training_data": Rule("names, and numbers or short texts", _are_few_plain_values),
    "config": Rule(f"a configuration, at most {_DEEPEST} levels deep", _is_config),
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
    if "best_top1" in values:  # as it was called while there was one task
        values = {("best_score" if name == "best_top1" else name): value for name, value in values.items()}
    for name, rule in _RULES.items():
        if name in values and not rule.holds(values[name]):
            raise UserError(f"{name}: expected {rule.expected}, got {shown(values[name])}")
    return values
