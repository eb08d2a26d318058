"""The effects of SIGTERM and SIGHUP; how a service reloads is tested with what it reloads."""

import os
import signal
import threading

import pytest

from keyledger.serving.signals import hangups_held, on_hangup, orderly_end


def test_a_termination_leaves_the_block_as_an_orderly_end():
    cleaned = []
    with pytest.raises(SystemExit) as ended, orderly_end():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigtimedwait([signal.SIGUSR2], 5)
        finally:
            cleaned.append(True)
    assert ended.value.code == 0
    assert cleaned


def test_a_hangup_that_was_held_back_is_heard_once_and_ends_nothing():
    heard = threading.Semaphore(0)
    with hangups_held():
        # To this thread: any other of the test run would take it at once.
        signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
        with on_hangup(heard.release):
            assert heard.acquire(timeout=60)
            assert not heard.acquire(blocking=False)
