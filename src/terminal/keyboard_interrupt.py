"""Keeps Ctrl-C what it is: MindSpore takes SIGINT over whenever a graph runs, and makes a SIGTERM of it.

Its handler lies below Python, and returns with the next graph however often it is replaced. So SIGINT is blocked in
every thread, which no handler sees then, and one thread waits for it and hands it to Python's handler.
"""

import _thread
import signal
import sys
import threading

_WAKE = signal.SIGURG
"""Interrupts what the main thread waits for. Nobody else uses it, and where nobody handles it, it does nothing."""

RETRY_SECONDS = 0.5

_state: dict[str, int | bool | None] = {"insists": False, "asked_by": None}


class Interrupted(KeyboardInterrupt):
    """The process was asked to end at once."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def listen() -> None:
    """Ctrl-C and SIGTERM raise `Interrupted` from now on, until `leave`."""
    _state.update(insists=True, asked_by=None)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    signal.signal(signal.SIGALRM, lambda number, frame: interrupt(_state["asked_by"]))


def interrupt(number: int, frame: object = None) -> None:
    """A signal handler that ends what is being done.

    Raises:
        Interrupted: in whatever runs. Where that loses it, as MindSpore does in calls from C++, it is raised again,
            but not while it is on its way, so that what it leaves can be put in order.
    """
    if _state["insists"]:
        _state["asked_by"] = number
        signal.setitimer(signal.ITIMER_REAL, RETRY_SECONDS)
        error = sys.exc_info()[1]
        while error is not None:
            if isinstance(error, Interrupted):
                return
            error = error.__context__
    raise Interrupted(number)


def leave() -> int | None:
    """Ends `listen`; returns the number of the signal that came meanwhile, None where none did."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    _state["insists"] = False
    return _state["asked_by"]


def keep_sigint() -> None:
    """To be called by the main thread before any other is started: threads inherit what is blocked.

    So do programs that are started; Ctrl-C does not reach those, and whoever starts them ends them.
    """
    signal.signal(_WAKE, lambda number, frame: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    threading.Thread(target=_hand_on, args=(threading.get_ident(),), name="keyboard-interrupt", daemon=True).start()


def _hand_on(main_thread: int) -> None:
    while True:
        signal.sigwait({signal.SIGINT})
        _thread.interrupt_main(signal.SIGINT)
        signal.pthread_kill(main_thread, _WAKE)
