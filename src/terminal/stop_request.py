"""A polite end: SIGTERM, Ctrl-C or a closed terminal lets the step that is running finish, so that the run is saved."""

import os
import signal
import sys
import time
from types import FrameType

from .keyboard_interrupt import interrupt

SAME_REQUEST_SECONDS = 3.0
"""Signals this soon after the first are one request: launcher, process group and scheduler may all hand it on."""

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(Exception):
    """The process was asked to end, and nothing is lost."""

    def __init__(self, number: signal.Signals):
        super().__init__(f"stopped by {number.name}")
        self.exit_code = 128 + number


class StopRequest:
    """Use as a context manager; `signal` is the signal that asked for the end, None while nobody has.

    Another request, some seconds later, ends the process at once. A signal that is ignored, as SIGHUP is under nohup,
    stays so.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None
        self._since = 0.0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in NUMBERS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            _leave_terminal()
        if self.signal is None:
            self.signal, self._since = signal.Signals(number), time.monotonic()
        elif time.monotonic() - self._since > SAME_REQUEST_SECONDS:
            interrupt(number)


def _leave_terminal() -> None:
    """What is printed to a terminal that was closed goes nowhere, and is no error."""
    for stream in (sys.stdout, sys.stderr):
        if stream.isatty():
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
