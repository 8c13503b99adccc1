"""Text for terminals, pipes and files whose encoding lacks its letters: PYTHONIOENCODING=ascii, an old locale.

Signs get what people type for them, letters their escapes, which tell one label from another: 'x', '\\u72d7'.
"""

import codecs
import sys

_SIGNS = {"×": "x", "…": "...", "–": "-", "→": "->", "²": "^2"}
_NAME = "tnt-any-text"


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    plain = (_SIGNS.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in letters)
    return "".join(plain), error.end


def print_any_text() -> None:
    """Nothing that is printed from now on fails for its letters."""
    codecs.register_error(_NAME, _replace)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_NAME)
