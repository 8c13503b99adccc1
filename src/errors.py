"""What the command line prints without a traceback: wrong input, and trouble that may go away."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave cannot be used. The message says what was expected, what came, and what to do."""

    exit_code = 2


class TemporaryError(UserError):
    """Trouble outside the program that may be gone at another start: a full disk, a lost process, a taken lock."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h


def writing_error(message: str, error: Exception) -> UserError:
    """`message`, as what it is: a wrong path or missing permission, or trouble that may go away."""
    lasting = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
    return (UserError if isinstance(error, lasting) else TemporaryError)(message)


def nearest(word: str, known: Iterable[str]) -> str:
    """The names nearest to a misspelt `word`, as the end of a message."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.4)
    return "did you mean " + " or ".join(near) + "?" if near else "known: " + ", ".join(known)
