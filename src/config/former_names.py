"""Names that arguments of networks had in earlier versions, translated here and nowhere else.

What a user writes under such a name is taken, with a warning that names the new one. What checkpoints and descriptions
of exported files say is taken without a word.
"""

import warnings
from collections.abc import Mapping
from typing import Any

from ..errors import UserError

FORMER_NAMES = {"inner_heads": "inner_num_heads", "outer_heads": "outer_num_heads"}
"""Former name -> what it is called now."""


def current_names(arguments: Mapping[str, Any], where: str | None = None) -> dict[str, Any]:
    """Arguments of a network or detector by the names of today, in their order; those of a `backbone` too.

    Args:
        arguments: names -> values.
        where: names what the user wrote, for a warning about each former name; None for no warnings.

    Raises:
        UserError: an argument is there by both of its names.
    """
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        current = FORMER_NAMES.get(name, name)
        if current != name:
            if current in arguments:
                raise UserError(f"{where or 'arguments'}: {name} is a former name of {current}: leave it out")
            if where is not None:
                warnings.warn(f"{where}: {name} is called {current} now", FutureWarning, stacklevel=2)
        elif name == "backbone" and isinstance(value, Mapping):
            value = current_names(value, where and f"{where}: backbone")
        found[current] = value
    return found
