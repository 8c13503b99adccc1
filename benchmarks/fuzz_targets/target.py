"""What a target of benchmarks/fuzz.py is."""

from random import Random
from typing import Any, Protocol


class SilentChange(Exception):
    """An input was accepted, and what came out is not what it says."""


class Target(Protocol):
    """Inputs from outside, and what reads them."""

    def draw(self, random: Random) -> Any:
        """A mutant. Whatever is random about it comes from `random`."""

    def read(self, mutant: Any) -> None:
        """Reads it as the commands do.

        Raises:
            UserError: it is refused.
            SilentChange: it is accepted, and a value is another than the mutant has.
        """
