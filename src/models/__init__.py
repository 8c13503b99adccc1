"""The networks by name: `create_model("tnt_s_patch16_224", num_classes=10)`, `list_models("ptnt*")`."""

import inspect
from collections.abc import Mapping
from typing import Any

from mindspore import nn

from ..config.former_names import current_names
from ..memory import check_fits
from .arguments import check_arguments
from .catalogue import get_variant, list_models
from .memory_need import num_weights

__all__ = ["create_model", "get_variant", "list_models", "resolve_arguments"]


def resolve_arguments(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments with which `create_model` builds a network: the class's defaults, the variant's, and `arguments`.

    Raises:
        UserError: as `check_arguments` says.
    """
    check_arguments(name, arguments)
    variant = get_variant(name)
    parameters = inspect.signature(variant.network.__init__).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    return {**defaults, "image_size": variant.image_size, **variant.structure, **arguments}


def create_model(name: str, /, **arguments: Any) -> nn.Cell:
    """Builds the variant `name` with random weights.

    Args:
        name: one of `list_models()`.
        arguments: constructor arguments of the network that replace the variant's: `num_classes` (0: features),
            `in_channels`, `image_size` (side or (height, width)), `drop_rate`, `attn_drop_rate`, `drop_path_rate`,
            `se`, and the structural ones. Former names of arguments are taken with a warning.

    Raises:
        UserError: as `check_arguments` says, values that do not fit together, or more weights than fit into memory.
    """
    arguments = resolve_arguments(name, current_names(arguments, f"create_model({name!r})"))
    network = get_variant(name).network
    check_fits(4 * num_weights(network, arguments), f"the weights of {name} of this structure", "make it smaller")
    return network(**arguments)
