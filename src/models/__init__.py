"""The networks by name: `create_model("tnt_s_patch16_224", num_classes=10)`, `list_models("ptnt*")`."""

import fnmatch
import inspect
from typing import Any

from mindspore import nn

from src.errors import UserError, nearest
from src.models import pyramid_tnt, t2t_vit, tnt
from src.models.variant import Variant

_VARIANTS: dict[str, Variant] = {**tnt.VARIANTS, **pyramid_tnt.VARIANTS, **t2t_vit.VARIANTS}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the published variants that match a shell-style `pattern`, in the order of the papers."""
    return [name for name in _VARIANTS if fnmatch.fnmatchcase(name, pattern)]


def get_variant(name: str) -> Variant:
    """The published sizes, input preparation and accuracy of the variant `name`.

    Raises:
        UserError: no variant has this name; the nearest names are listed.
    """
    if name not in _VARIANTS:
        raise UserError(f"unknown model {name!r}; {nearest(name, list_models())}")
    return _VARIANTS[name]


def create_model(name: str, **arguments: Any) -> nn.Cell:
    """Builds the variant `name` with random weights.

    Args:
        name: one of `list_models()`.
        arguments: constructor arguments of the network that replace the variant's: `num_classes` (0: features),
            `in_channels`, `image_size` (side or (height, width)), `drop_rate`, `attn_drop_rate`, `drop_path_rate`,
            `se`, and the structural ones.

    Raises:
        UserError: an unknown name or argument (the nearest ones are named), or a value that does not fit.
    """
    variant = get_variant(name)
    known = list(inspect.signature(variant.network.__init__).parameters)[1:]
    for argument in arguments:
        if argument not in known:
            raise UserError(f"{name} has no argument {argument!r}; {nearest(argument, known)}")
    return variant.network(**{"image_size": variant.image_size, **variant.structure, **arguments})
