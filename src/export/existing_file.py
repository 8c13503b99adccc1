"""Whether an export may take the place of a file that is there already."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files.json_file import from_json, to_json
from .exported_file import read_description
from .file_names import sidecar_of

_OF_THE_EXPORT = ("file", "sha256", "mindspore", "comparison_with_network")
"""Entries of a description that may differ between two exports of the same."""


def check_replaceable(output: Path, describe: Callable[[], Mapping[str, Any]], is_encrypted: bool = False) -> None:
    """Refuses to replace a file of other content: of other weights, or written in another form.

    Args:
        output: the file that is to be written.
        describe: gives its description, asked for only where there is something to compare it with.
        is_encrypted: whether it will be encrypted: with which key the one that is there was cannot be told.

    Raises:
        UserError: such a file is there. Says in what it differs, and what to do.
    """
    there = [path for path in (output, sidecar_of(output)) if os.path.lexists(path)]
    if not there:
        return
    advice = "give --overwrite to replace it, or another name with --file_name"
    if is_encrypted:
        raise UserError(f"{there[0]} exists already, and encrypted files are not compared: {advice}")
    try:
        found = read_description(output)
    except UserError:
        raise UserError(f"{there[0]} exists already and is no whole export: {advice}") from None
    new = from_json(to_json(describe()))
    names = [name for name in new if name not in _OF_THE_EXPORT and _content(new, name) != _content(found, name)]
    if names:
        raise UserError(f"{output} exists already and is another export (it differs in {', '.join(names)}): {advice}")


def _content(description: Mapping[str, Any], name: str) -> Any:
    value = description.get(name)
    return value.get("sha256") if name == "checkpoint" and isinstance(value, dict) else value
