"""The frame of every root script: quiet framework, wrong input as one line, exit codes."""

import os
import signal
import sys
from collections.abc import Callable

os.environ.setdefault("GLOG_v", "4")  # MindSpore repeats on stderr what it raises; must be set before its import

from src.engine.stop_request import Stopped
from src.errors import UserError


def run_command(main: Callable[[], int | None]) -> None:
    """Runs `main` and ends the process.

    The exit code is 0 or what `main` returns; 2 after wrong input and 75 after trouble that another start may not have,
    told in one message on stderr; 128 + the signal's
    number after a training run that was stopped and saved; 130 after Ctrl-C, which MindSpore turns into SIGTERM once a
    graph has run.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except Stopped as stopped:
        code = stopped.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the end
        code = 128 + signal.SIGPIPE
    sys.exit(code)
