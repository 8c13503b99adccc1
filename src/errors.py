"""The one exception for wrong input by a user; the command line prints its message without a traceback."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave cannot be used. The message says what was expected, what came, and what to do."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The names nearest to a misspelt `word`, as the end of a message."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.4)
    return "did you mean " + " or ".join(near) + "?" if near else "known: " + ", ".join(known)
