"""Command lines of the scripts that have no configuration: values within bounds, one line for every mistake."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config.typed_value import PATH, PLAIN, is_path, is_plain, shortened, text_to_type
from ..config.yaml_file import parse_yaml
from ..errors import UserError

LARGEST_SIDE = 16384


class ScriptParser(argparse.ArgumentParser):
    """Raises UserError where the command line is wrong.

    Args:
        kwargs: of `argparse.ArgumentParser`.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> None:
        raise UserError(f"{self.prog}: {shortened(message, 300)}; see --help")


def add_image_size(group: argparse._ActionsContainer, name: str, help: str, largest: int = LARGEST_SIDE) -> None:
    """Adds an option of one or two numbers whose value is (height, width) in pixels, None where it is not given."""
    group.add_argument(name, metavar="SIDE", type=whole_number(1, largest), nargs="+", action=_HeightWidth, help=help)


class _HeightWidth(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        if len(values) > 2:
            got = " ".join(map(str, values))
            raise UserError(f"{option}: expected a side, or height and width, in pixels, got {got}")
        setattr(namespace, self.dest, (values[0], values[-1]))


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """The type of an option that takes a whole number from `low` to `high`."""

    def read(text: str) -> int:
        try:
            number = text_to_type(text, int, "it")
        except (TypeError, UserError):
            number = None
        if number is None or not low <= number <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, got {shortened(text)}")
        return number

    return read


def share(text: str) -> float:
    """The type of an option that takes a number above 0 and below 1."""
    try:
        number = text_to_type(text, float, "it")
    except (TypeError, UserError):
        number = 0.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and below 1, got {shortened(text)}")
    return number


def mapping(text: str) -> dict[str, Any]:
    """The type of an option that takes names and values in YAML."""
    expected = f"expected something like '{{depth: 4, outer_dim: 96}}', got {shortened(text)!r}"
    try:
        value = parse_yaml(text, expected)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(expected)
    return value


def path(text: str) -> Path:
    """The type of an option that takes a path."""
    if not is_path(text):
        raise argparse.ArgumentTypeError(f"expected {PATH}, got {shortened(text)}")
    if not is_plain(text):
        raise argparse.ArgumentTypeError(f"expected {PLAIN}, got {shortened(text)}")
    return Path(text)
