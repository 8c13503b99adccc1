"""The published variants by name: `get_variant("tnt_s_patch16_224")`, `list_models("ptnt*")`."""

import fnmatch

from ..errors import UserError, nearest, shown
from . import pyramid_tnt, t2t_vit, tnt
from .variant import Variant

_VARIANTS: dict[str, Variant] = {**tnt.VARIANTS, **pyramid_tnt.VARIANTS, **t2t_vit.VARIANTS}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the published variants that match a shell-style `pattern`, in the order of the papers."""
    return [name for name in _VARIANTS if fnmatch.fnmatchcase(name, pattern)]


def get_variant(name: str) -> Variant:
    """The published sizes, input preparation and accuracy of the variant `name`.

    Raises:
        UserError: no variant has this name; the nearest names are listed.
    """
    if not isinstance(name, str):
        raise UserError(f"expected the name of a model, got {shown(name)}")
    if name not in _VARIANTS:
        raise UserError(f"unknown model {shown(name)}; {nearest(name, list_models())}")
    return _VARIANTS[name]
