"""The form that an error has to have."""

from collections.abc import Callable

import pytest

REFUSALS = (ValueError, TypeError, OSError, ModuleNotFoundError)
"""What the command line turns into one line (TypeError: only networks written by users)."""


def refused(call: Callable[[], object], *words: str) -> str:
    """Check that a call is refused in one line of moderate length that holds all the words.

    Args:
        call: is given bad input.
        words: the name of the file or argument, and of the fix.

    Returns:
        The message.
    """
    with pytest.raises(REFUSALS) as caught:
        call()
    message = str(caught.value)
    assert message
    assert "\n" not in message, message
    assert len(message) <= 400, message
    missing = [word for word in words if word not in message]
    assert not missing, f"{message!r} does not say {missing}"
    return message
