"""Whether two descriptions are of one network, and in what they differ.

Many arguments of a constructor change what a network computes and leave no trace in the shapes of its weights, such as
the number of heads, so that weights load into another network without a word. Here the arguments themselves are
compared, the defaults included.
"""

from collections.abc import Mapping
from typing import Any

from . import get_variant, resolve_arguments

IN_TRAINING_ONLY = {"drop_rate", "attn_drop_rate", "drop_path_rate", "token_drop_rate", "batch_norm"}
OF_THE_DATA = {"num_classes", "image_size"}  # what is different there is matched or resized


def network_differences(
    model: str, arguments: Mapping[str, Any], other_model: str, other_arguments: Mapping[str, Any]
) -> list[str]:
    """The arguments in which the function of one network differs from that of another.

    Args:
        model: variant, one of `list_models()`.
        arguments: constructor arguments that differ from the variant's.
        other_model, other_arguments: the same of the other network.

    Returns:
        "outer_num_heads: 3 and 1", one for each argument.
    """
    if get_variant(model).network is not get_variant(other_model).network:
        return [f"model: {model} and {other_model}"]
    one, other = _function(model, arguments), _function(other_model, other_arguments)
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    differences = [f"{key}: {_show(one.get(key))} and {_show(other.get(key))}" for key in keys]
    if differences and model != other_model:
        return [f"model: {model} and {other_model}", *differences]
    return differences


def _function(model: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that decide what is computed in evaluation, in one spelling."""
    values = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in resolve_arguments(model, arguments).items()
        if key not in IN_TRAINING_ONLY | OF_THE_DATA
    }
    blocks = values.get("inner_blocks")
    if blocks is not None and set(blocks) == set(range(1, values["depth"] + 1)):
        values["inner_blocks"] = None  # all
    return values


def _show(value: Any) -> str:
    return f"({', '.join(map(str, value))})" if isinstance(value, tuple) else str(value)
