"""Command lines of the scripts that have no configuration: values within bounds, one line for every mistake."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config.typed_value import PATH, PLAIN, is_path, is_plain, shortened, text_to_type
from ..errors import UserError


class ScriptParser(argparse.ArgumentParser):
    """Raises UserError where the command line is wrong.

    Args:
        kwargs: of `argparse.ArgumentParser`.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> None:
        raise UserError(f"{self.prog}: {shortened(message, 300)}; see --help")


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


def path(text: str) -> Path:
    """The type of an option that takes a path."""
    if not is_path(text):
        raise argparse.ArgumentTypeError(f"expected {PATH}, got {shortened(text)}")
    if not is_plain(text):
        raise argparse.ArgumentTypeError(f"expected {PLAIN}, got {shortened(text)}")
    return Path(text)
