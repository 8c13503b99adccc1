"""Configurations: YAML whose scalars are spelt in every way, with known meaning, and damaged YAML."""

import time
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from random import Random
from typing import Any, get_type_hints

from benchmarks.fuzz_targets.mutation import mutate_bytes
from benchmarks.fuzz_targets.target import SilentChange
from src.config import Config, dump_config, flat_values, load_config, parse_command_line

LONGEST = 2.0  # seconds
SPELT: dict[str, Any] = {  # by the core schema of YAML 1.2.2, section 10.3.2
    **{"1": 1, "+1": 1, "010": 10, "0o17": 15, "0x1F": 31, "-3": -3, "007": 7, "1e3": 1000.0, ".5": 0.5, "1.": 1.0},
    **{"5e-1": 0.5, "true": True, "True": True, "FALSE": False, "null": None, "~": None, "": None, "1:30": "1:30"},
    **{"1_000": "1_000", "yes": "yes", "off": "off", "0b11": "0b11", "'1'": "1", '"true"': "true", "0X1": "0X1"},
    **{"2024-01-01": "2024-01-01", "1e": "1e", "[1, 2]": [1, 2], "[0.5, 1]": [0.5, 1], "{a: 010}": {"a": 10}},
    **{"CPU": "CPU", "'null'": "null", "٣": "٣", "0.25": 0.25, "[]": [], "{}": {}, "9" * 400: None, "1e400": None},
}
DAMAGE = (
    *("&a [*a]", "[" * 5000, "{a: " * 3000, "!!python/object/apply:os.system ['true']", "? [1]\n: 2", "<<: {seed: 3}"),
    *("\t- x", "%YAML 1.1\n---\n", "---\n---\n", "seed: 1\nseed: 2", "&a a: *b", '"\\ud800"', "a: " + "9" * 5000),
    "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 10)}]\n" for n in range(9)),
)
BASE = dump_config(Config())


class Configs:
    """Mutants: the text of a file or, with a key, the text of an option; and what the key's value must be."""

    def __init__(self, folder: Path):
        self.path = folder / "run.yaml"
        self.plain = folder / "plain.yaml"
        self.plain.write_text("data: {source: digits}\n")
        self.hints = dict(_hints(Config))

    def draw(self, random: Random) -> tuple[str, str | None, Any]:
        kind = random.random()
        if kind < 0.35:
            text = mutate_bytes(BASE.encode(), random).decode("utf-8", "surrogateescape")
            return text, None, None
        if kind < 0.45:
            return random.choice((BASE, "")) + random.choice(DAMAGE), None, None
        key, spelling = random.choice(list(self.hints)), random.choice(list(SPELT))
        if kind < 0.5:
            return spelling, f"--{key}", spelling
        section, _, name = key.rpartition(".")
        return (f"{section}:\n  {name}: {spelling}\n" if section else f"{name}: {spelling}\n"), key, spelling

    def read(self, mutant: tuple[str, str | None, Any]) -> None:
        text, key, spelling = mutant
        since = time.perf_counter()
        is_option = key is not None and key.startswith("--")
        if is_option:
            key = key[2:]
            line = parse_command_line("train.py", "", _NoOptions, ["--config", str(self.plain), f"--{key}={text}"])
            config = line.config
        else:
            self.path.write_bytes(text.encode("utf-8", "surrogateescape"))
            try:
                config = load_config(self.path)
            finally:
                if time.perf_counter() - since > LONGEST:
                    raise SilentChange(f"it took more than {LONGEST} seconds")
        self.path.write_text(dump_config(config))
        if load_config(self.path) != config:
            raise SilentChange("what is saved is read back as something else")
        if key is not None:
            found, stated = dict(flat_values(config))[key], SPELT[spelling]
            meant = [stated, spelling, [spelling]] if is_option else [stated]  # where text is asked for, it is text
            if not any(is_same(found, value) for value in meant):
                raise SilentChange(f"{key}: {spelling} was read as {found!r}")


@dataclass
class _NoOptions:
    """No options of its own."""


def _hints(section: type, prefix: str = "") -> list[tuple[str, Any]]:
    hints = get_type_hints(section)
    found = []
    for field in fields(section):
        hint = hints[field.name]
        nested = is_dataclass(hint)
        found += _hints(hint, f"{prefix}{field.name}.") if nested else [(prefix + field.name, hint)]
    return found


def is_same(found: Any, stated: Any) -> bool:
    """Equal, where a whole number may stand for a float and a list for a pair; true is not 1."""
    if isinstance(found, tuple | list) and isinstance(stated, list):
        return len(found) == len(stated) and all(map(is_same, found, stated))
    if isinstance(found, bool) or isinstance(stated, bool):
        return found is stated
    return found == stated
