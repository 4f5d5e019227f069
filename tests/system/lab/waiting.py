"""Waiting for something that no event announces."""
import time

from . import places


def until(condition, timeout=places.PATIENCE, what=None):
    """Returns the first true value of condition(); fails after `timeout` seconds. `what` is a text, or a function that
    makes one, for the failure."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what() if callable(what) else what or condition}")
        time.sleep(0.02)  # poll
