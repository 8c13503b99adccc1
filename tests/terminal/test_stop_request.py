"""Signals to this process, while a StopRequest listens and after it."""

import os
import signal
import time

import pytest

from src.terminal.stop_request import SAME_REQUEST_SECONDS, Stopped, StopRequest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_noted_and_the_work_goes_on(number):
    with StopRequest() as stop:
        assert stop.signal is None
        os.kill(os.getpid(), number)
        assert stop.signal is number


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_request_ends_at_once(second, monkeypatch):
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal is signal.SIGTERM
        later = time.monotonic() + SAME_REQUEST_SECONDS + 0.1
        monkeypatch.setattr(time, "monotonic", lambda: later)
        os.kill(os.getpid(), second)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_second_signal_soon_after_is_the_same_request(second):
    """A launcher, the process group and a scheduler may all hand it on."""
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), second)
        assert stop.signal is signal.SIGTERM


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_handlers_of_before_are_back_even_after_an_error():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(RuntimeError), StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before[0]
        raise RuntimeError
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_each_use_starts_without_a_signal():
    for _ in range(2):
        with StopRequest() as stop:
            assert stop.signal is None
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.signal is not None


@pytest.mark.parametrize("number,code", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_stopped_names_the_signal_and_has_the_shells_exit_code(number, code):
    stopped = Stopped(number)
    assert stopped.exit_code == code and str(stopped) == f"stopped by {number.name}"
