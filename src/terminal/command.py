"""The frame of every root script: quiet framework, wrong input as one line, exit codes.

Importing it has effects on root scripts: Ctrl-C ends them quietly while they are still importing, and stays Ctrl-C when
MindSpore runs. That it is the first import of every root script also makes this package quiet MindSpore's log before
MindSpore is imported.
"""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """There is nothing to save, and extension modules that are being loaded do not bear an exception."""
    os.write(2, b"interrupted\n")
    os._exit(128 + number)


_main_file = getattr(sys.modules["__main__"], "__file__", None)
_folder = None if _main_file is None else Path(_main_file).resolve().parent
_REPOSITORY = Path(__file__).resolve().parents[2]
_IS_ROOT_SCRIPT = _folder == _REPOSITORY
_IS_SCRIPT = _folder in (_REPOSITORY, _REPOSITORY / "scripts")
if _IS_SCRIPT:
    for _number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(_number, _end_at_once)

from .keyboard_interrupt import Interrupted, keep_sigint, leave, listen  # noqa: E402

if _IS_ROOT_SCRIPT:
    keep_sigint()

from ..errors import (  # noqa: E402
    TemporaryError,
    UserError,
    printable,
    show_warnings_in_one_line,
    writing_error,
)
from .any_text import print_any_text  # noqa: E402
from .progress import tell_line  # noqa: E402
from .stop_request import NUMBERS, Stopped  # noqa: E402


def _tell(line: str) -> None:
    with suppress(OSError):
        print(printable(line), file=sys.stderr, flush=True)


def _leave_stdout() -> None:
    """What is still to be flushed at the end goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell_unraisable(problem: "sys.UnraisableHookArgs") -> None:
    if not isinstance(problem.exc_value, Interrupted):  # which is raised again
        sys.__unraisablehook__(problem)


def _interrupted(code: int) -> int:
    leave()
    _tell("interrupted")
    return code


def run_command(main: Callable[[], int | None]) -> None:
    """Runs `main` and ends the process.

    The exit code is 0 or what `main` returns; 2 after wrong input and 75 after trouble that another start may not have,
    told in one message on stderr; 128 + the signal's number where it was stopped: 130 by Ctrl-C, 143 by SIGTERM.
    """
    listen()
    print_any_text()
    sys.unraisablehook = _tell_unraisable
    show_warnings_in_one_line(lambda line: tell_line(line, to_stderr=True))
    try:
        try:
            code = main()
        except SystemExit as end:  # --help and --print_config
            code = end.code
        sys.stdout.flush()
    except UserError as error:
        _tell(f"error: {error}")
        code = error.exit_code
    except Stopped as stopped:
        code = stopped.exit_code
    except KeyboardInterrupt as interrupted:
        code = _interrupted(getattr(interrupted, "exit_code", 128 + signal.SIGINT))
    except BrokenPipeError:  # the reader, such as `head`, has enough
        _leave_stdout()
        code = 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is None:
            _leave_stdout()
            _tell(f"error: cannot write what is printed: {error.strerror}; is the disk full that it goes to?")
        else:
            _tell(f"error: {error.filename}: {error.strerror}; is the path right, and its folder open to you?")
        code = writing_error("", error).exit_code
    except MemoryError:
        _tell("error: there is not enough free memory; end other programs, or make batches or images smaller")
        code = TemporaryError.exit_code
    except Exception:
        if (number := leave()) is None:
            raise
        code = _interrupted(128 + number)  # what MindSpore made of it
    leave()
    if _IS_SCRIPT:
        for number in NUMBERS:  # a second signal must not disturb the end
            signal.signal(number, signal.SIG_IGN)
    sys.exit(code)
