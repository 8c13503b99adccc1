"""A polite end: SIGTERM or Ctrl-C lets the step that is running finish, so that the run can be saved."""

import signal
from types import FrameType


class Stopped(Exception):
    """The process was asked to end, and nothing is lost."""

    def __init__(self, number: signal.Signals):
        super().__init__(f"stopped by {number.name}")
        self.exit_code = 128 + number


class StopRequest:
    """Use as a context manager; `signal` is the signal that asked for the end, None while nobody has.

    A second signal ends the process at once. (MindSpore turns Ctrl-C into SIGTERM once a graph has run.)
    """

    def __init__(self):
        self.signal: signal.Signals | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
