"""What the command line prints without a traceback: wrong input, trouble that may go away, and warnings; and text from
outside in such messages."""

import difflib
import errno
import reprlib
import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

_LONGEST = 80  # characters of a value or name in a message


class UserError(ValueError):
    """Something the user gave cannot be used. The message says what was expected, what came, and what to do."""

    exit_code = 2


class TemporaryError(UserError):
    """Trouble outside the program that may be gone at another start: a full disk, a lost process, a taken lock."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h


class ImageWarning(UserWarning):
    """An image was read, but hardly as it is meant. The message says which one, why, and what to do."""


def show_warnings_in_one_line(tell: Callable[[str], None] | None = None, every_image: bool = False) -> None:
    """Makes every further warning one line, `warning: ...`, without its place in the source.

    Those of Pillow itself are not shown: they are about what is not used here, such as damaged EXIF, and name no file.

    Args:
        tell: prints a line; to stderr when None.
        every_image: whether each image that there is something to say about has its line; else this process's first.
    """

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        line = f"warning: {message}"
        if issubclass(category, ImageWarning) and not every_image:
            warnings.simplefilter("ignore", ImageWarning)
            line += "; further ones are not named"
        with suppress(OSError):  # nobody reads stderr any more
            (tell or _to_stderr)(printable(line))

    warnings.showwarning = show
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _to_stderr(line: str) -> None:
    if sys.stderr is not None:
        print(line, file=sys.stderr, flush=True)


_PASSING = {
    *(errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.ENOBUFS, errno.EMFILE, errno.ENFILE, errno.ENOLCK),  # used up
    *(errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ETXTBSY, errno.EDEADLK),  # in use
    *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNRESET, errno.ECONNREFUSED),  # a far disk
    *(errno.ECONNABORTED, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH),
}
"""Numbers of system errors that may be gone at another start."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """'1 image' or '1,437 images'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def writing_error(message: str, error: Exception) -> UserError:
    """`message`, as what it is: trouble that may go away, or a wrong, too long or forbidden path, which stays one.

    Args:
        message: for the user.
        error: why something could not be written. Where the system gives no number, as MindSpore's errors have none, it
            may go away, unless a value was wrong (text that cannot be a name).
    """
    number = error.errno if isinstance(error, OSError) else None
    passes = number in _PASSING if number is not None else not isinstance(error, ValueError)
    return (TemporaryError if passes else UserError)(message)


def nearest_names(word: str, known: Iterable[str], count: int = 3, least: float = 0.6) -> list[str]:
    """The names most like a misspelt or shortened `word`, the nearest first.

    Args:
        word: of the user.
        known: names. Dotted ones are compared as a whole and in their last part, so that 'lr' finds 'optimizer.lr'.
        count: how many at most.
        least: likeness, of 0 to 1, that they have at least.
    """
    word = word[:_LONGEST]

    def likeness(name: str) -> float:
        if len(word) > 2 and name.startswith(word):
            return 1.0
        pairs = {(name, word), (name.rpartition(".")[2], word.rpartition(".")[2])}
        return max(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)

    likenesses = {name: likeness(name) for name in known}
    near = [name for name, value in likenesses.items() if value >= least]
    return sorted(near, key=lambda name: (likenesses[name], name), reverse=True)[:count]


def nearest(word: str, known: Iterable[str]) -> str:
    """The names nearest to a misspelt `word`, or else all, as the end of a message."""
    known = list(known)
    near = nearest_names(word, known)
    return "did you mean " + " or ".join(near) + "?" if near else "known: " + ", ".join(known)


def printable(text: str) -> str:
    """`text` on one line, with a question mark for each character that has no picture.

    Those are line ends, the escapes that move a terminal's cursor and change its colours, marks that reverse the order
    of what follows, and the odd bytes of names that are no UTF-8.
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def shown(value: Any) -> str:
    """A value that came from outside, for a message: printable, short, on one line."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = _LONGEST
    try:
        return short.repr(value)
    except ValueError:  # Python does not print whole numbers of thousands of digits
        return "a number of thousands of digits"
