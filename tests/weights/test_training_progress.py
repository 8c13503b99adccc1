"""What a checkpoint says about its training is checked before it is used."""

import pytest

from src.errors import UserError
from src.weights.training_progress import check_progress

PROGRESS = {
    "step": 6,
    "steps_per_epoch": 2,
    "epoch": 3.0,
    "best_score": -1.0,
    "losses": [0.5, 3],
    "weights": "ema",
    "training_data": {"seed": 1, "images": "digest"},
    "config": {"seed": 1, "model": {"structure": {"depths": [1, 2]}}, "of another version": None},
    "of another version": {},
}


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def test_what_is_right_comes_back():
    assert check_progress(PROGRESS) is PROGRESS
    assert check_progress({}) == {}


@pytest.mark.parametrize(
    "name,values",
    {
        "step": [-1, 1.0, True, None, "6", 10**400],
        "steps_per_epoch": [0, 2.0],
        "epoch": [-1, float("nan"), float("inf"), "3", True, 10**400],
        "best_score": [1e301, float("nan"), None, False],
        "losses": [0.5, [float("nan")], [None], [10**400], ["1"], {}],
        "training_data": [None, {"a": [1]}, {"a": "b" * 201}, {str(n): n for n in range(21)}],
        "weights": ["other", None, [], 1],
        "config": [None, [], {"model": 5}, {"train": None}, {"seed": nested(500)}, {"x": nested(10)}],
    }.items(),
)
def test_what_is_wrong_is_named(name, values):
    for value in values:
        with pytest.raises(UserError, match=f"^{name}: expected .*, got ") as found:
            check_progress({**PROGRESS, name: value})
        assert "\n" not in str(found.value) and len(str(found.value)) < 300


def test_a_configuration_may_be_as_deep_as_it_says():
    check_progress({"config": {"seed": nested(9)}})


@pytest.mark.parametrize("values", [None, [], "step", 5])
def test_what_has_no_names(values):
    with pytest.raises(UserError, match="expected names and values, got"):
        check_progress(values)
