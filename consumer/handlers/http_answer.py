"""What an HTTP status says about an event that was forwarded: done, later, or never."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from schemas.errors import HandlerError, PermanentError, RetryLater

#: The target did not or could not decide (RFC 9110 and RFC 8470): it may do so later.
_TRANSIENT_4XX: Final = frozenset({408, 425, 429})
_SECONDS: Final = re.compile(r"[0-9]{1,10}")
_MAX_DATE_CHARS: Final = 64


def failure_of(
    target: str, status: int, retry_after: str | None, now_s: float, max_after_s: float
) -> HandlerError | None:
    """The error that an answer stands for; None for a success. `now_s` is Unix time."""
    if 200 <= status < 300:
        return None
    if status >= 500 or status in _TRANSIENT_4XX:
        return RetryLater(
            f"{target} answered {status}",
            after_s=retry_after_s(retry_after, now_s, max_after_s),
        )
    if 300 <= status < 400:
        return PermanentError(
            f"{target} answered {status}, a redirect, and none is followed: a signed event goes "
            "only where its settings say; write the new address there"
        )
    if status == 410:
        return PermanentError(
            f"{target} answered 410: it is gone for good; take it out of the settings"
        )
    return PermanentError(
        f"{target} answered {status}: it does not want this event, and would not on a retry"
    )


def retry_after_s(text: str | None, now_s: float, max_s: float) -> float | None:
    """The seconds of a Retry-After (RFC 9110 section 10.2.3), 0 to `max_s`; None if it has none."""
    if text is None:
        return None
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return min(max_s, float(text))
    if len(text) > _MAX_DATE_CHARS:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # "-0000" gives a time without a zone; an HTTP date is always UTC.
        unix_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max_s, max(0.0, unix_s - now_s))
