"""Schedule: how often a message was tried in, when it is tried again out. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

# the example of Standard Webhooks, 1.0.0, "Deliverability and reliability": over three days
PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
SPREAD = 0.2  # of a pause: many who failed together do not come back together
RETRY_AFTER_MAX = timedelta(hours=24)  # who asks for more gets less


class Attempt(NamedTuple):
    """What came of an attempt. Without an error the message was taken."""

    answer: str = ""
    error: str | None = None
    hint: str | None = None
    retry_after: timedelta = timedelta(0)  # that the receiver asked for
    is_passing: bool = False  # nobody answered, or was busy: nothing else need be tried now, and nobody need act
    is_final: bool = False  # the receiver wants no more of it


def pause(attempts: int, attempt: Attempt, chance: float) -> timedelta | None:
    """How long to wait after that many attempts, the last of which failed; None: it is given up.

    `chance`, from 0 up to 1, makes a pause longer by up to a fifth.
    """
    if attempt.is_final or attempts > len(PAUSES):
        return None
    spread = PAUSES[attempts - 1] * (1 + SPREAD * chance)
    return max(spread, min(attempt.retry_after, RETRY_AFTER_MAX))
