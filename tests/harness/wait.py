"""Waiting for conditions with deadlines, and the scale of a run (LASTACK_FULL=1: the full figures)."""
import os
import time

FULL = os.environ.get("LASTACK_FULL") == "1"


def scale(small, full):
    return full if FULL else small


def until(condition, timeout=10.0, what="the condition", every=0.02):
    """Returns the first true value of condition(); fails after timeout seconds and says what it waited for."""
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except OSError as error:
            last = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {timeout} s for {what}; last: {last!r}")
        time.sleep(every)


def holds(condition, seconds, what="the condition", every=0.05):
    """Fails as soon as condition() is false within the next seconds: for things that must NOT happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), f"{what} stopped being true"
        time.sleep(every)
