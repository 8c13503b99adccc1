"""Configurations as YAML files, each on at most one base, and what differs between two of them."""

import os
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from ..errors import UserError
from .former_names import current_names
from .known_names import keys_of_section, sentence, suggestion
from .rules import check_values
from .sections import Config, flat_hints, flat_values
from .typed_value import as_yaml, is_path, is_plain, shortened, to_type, type_name
from .yaml_file import read_yaml, to_yaml

STRUCTURE = "model.structure"
"""The key whose entries are arguments of a network."""

_MOST_BASES = 20


def load_config(path: str | os.PathLike) -> Config:
    """Read a YAML file on top of its bases; keys that none of them gives keep the defaults above.

    Args:
        path: the file. Its optional key `base:` names another one, relative to the file that says so.

    Raises:
        UserError: a file that is missing, not YAML or based on itself; an unknown key; a wrong type; a value that its
            rule forbids.
    """
    config = build(Config, read_tree(Path(path)))
    check_values(config, where=str(path))
    return config


def dump_config(config: Config) -> str:
    """The whole configuration as YAML; `load_config` reads it back to an equal one."""
    return to_yaml(asdict(config))


def changed_keys(before: dict[str, Any], config: Config) -> list[str]:
    """What differs from the configuration that `asdict` and JSON made `before` of: "key: old, now new"."""
    now = dict(flat_values(config))
    earlier = build(Config, _without_unknown(before, Config))
    if isinstance(earlier.model.structure, dict):
        earlier.model.structure = current_names(earlier.model.structure)
    then = dict(flat_values(earlier))
    listed = {key: (_listed(then[key]), _listed(value)) for key, value in now.items()}
    return [f"{key}: {as_yaml(old)}, now {as_yaml(new)}" for key, (old, new) in listed.items() if old != new]


def run_name(path: str | os.PathLike) -> str:
    """Name of the run folder of a config file: its stem; for a config.yaml that a run saved, its folder's name."""
    path = Path(path)
    return path.resolve().parent.name if path.name == "config.yaml" else path.stem


def read_tree(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Typed values of a file on top of those of its bases, keys that neither gives left out.

    Args:
        path: the file.
        above: the files that are based on it, the nearest last.
    """
    if path in above:
        raise UserError(f"{above[0]}: base: expected no circle, got {' -> '.join(map(str, (*above, path)))}")
    if len(above) > _MOST_BASES:
        raise UserError(f"{above[0]}: base: expected at most {_MOST_BASES} files on top of each other, got more")
    tree = read_yaml(path, f" (base of {above[-1]})" if above else "")
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected sections of 'key: value' lines, got {as_yaml(tree)}")
    has_base, base = "base" in tree, tree.pop("base", None)
    values = _typed(tree, Config, where=str(path))
    if not has_base:
        return values
    if not isinstance(base, str) or not is_path(base) or not is_plain(base):
        raise UserError(f"{path}: base: expected the path of one YAML file, got {as_yaml(base)}")
    return merge(read_tree(Path(os.path.normpath(path.parent / base)), (*above, path)), values)


def _typed(tree: dict[str, Any], section: type, where: str, prefix: str = "") -> dict[str, Any]:
    """Values of a section as the types of its fields; refuses unknown keys, and sections that are none."""
    hints, values = get_type_hints(section), {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if key not in hints:
            raise UserError(f"{where}: unknown key '{shortened(name)}'; {_advice(name)}")
        if is_dataclass(hints[key]):
            if not isinstance(value, dict):
                raise UserError(f"{where}: {name}: expected a section of 'key: value' lines, got {as_yaml(value)}")
            values[key] = _typed(value, hints[key], where, f"{name}.")
            continue
        try:
            values[key] = to_type(value, hints[key])
        except TypeError:
            raise UserError(f"{where}: {name}: expected {type_name(hints[key])}, got {as_yaml(value)}") from None
        if name == STRUCTURE:
            values[key] = current_names(values[key], f"{where}: {name}")
    return values


def _advice(name: str) -> str:
    """What to write instead of an unknown key."""
    keys = list(flat_hints(Config))
    section, _, key = name.rpartition(".")
    if name in keys:
        return f"write it as '{key}:' in the section '{section}:'"
    sections = dict.fromkeys(key.rpartition(".")[0] for key in keys if "." in key)
    known = ["base", *sections, *keys]
    if (known_one := suggestion(name, known)) is not None:
        return f"the nearest known key is '{known_one}'"
    return sentence(name) or "known: " + ", ".join(keys_of_section(name, known))


def merge(base: dict[str, Any], leaf: dict[str, Any]) -> dict[str, Any]:
    """`leaf` on top of `base`, sections and other dictionaries key by key."""
    merged = dict(base)
    for key, value in leaf.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def build(section: type, tree: dict[str, Any]) -> Any:
    hints = get_type_hints(section)
    return section(**{k: build(hints[k], v) if is_dataclass(hints[k]) else v for k, v in tree.items()})


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _without_unknown(tree: dict[str, Any], section: type) -> dict[str, Any]:
    """`tree` less what another version of this project had."""
    hints = get_type_hints(section)
    return {
        key: _without_unknown(value, hints[key]) if is_dataclass(hints[key]) else value
        for key, value in tree.items()
        if key in hints
    }
