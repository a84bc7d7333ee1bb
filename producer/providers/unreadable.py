"""Why an authentic event could not be read: a closed set of codes, safe as metric labels.

The detail is for an operator and is made of our own words; it never quotes the payload.
"""

from __future__ import annotations

from enum import StrEnum

from producer.providers.provider import Unreadable


class Reason(StrEnum):
    """The code in `Unreadable.reason`."""

    BODY_NOT_UTF8 = "body_not_utf8"
    BODY_NOT_JSON = "body_not_json"
    BODY_TOO_DEEP = "body_too_deep"
    BODY_UNEXPECTED = "body_unexpected"
    FORM_MALFORMED = "form_malformed"
    EVENT_ID_MISSING = "event_id_missing"
    EVENT_TYPE_MISSING = "event_type_missing"
    EVENT_TYPE_MALFORMED = "event_type_malformed"
    RESOURCE_TYPE_MISSING = "resource_type_missing"
    RESOURCE_TYPE_MALFORMED = "resource_type_malformed"
    RESOURCE_ID_MISSING = "resource_id_missing"
    RESOURCE_VERSION_MALFORMED = "resource_version_malformed"
    ID_TOO_LONG = "id_too_long"
    ID_MALFORMED = "id_malformed"
    BATCH_TOO_LARGE = "batch_too_large"
    # Of a compressed body, before any provider sees it.
    ENCODING_UNKNOWN = "encoding_unknown"
    ENCODING_BROKEN = "encoding_broken"
    ENCODING_TRUNCATED = "encoding_truncated"
    ENCODING_TRAILING = "encoding_trailing"
    INFLATED_TOO_LARGE = "inflated_too_large"


def unreadable(reason: Reason, detail: str) -> Unreadable:
    """An Unreadable whose reason is one of the set."""
    return Unreadable(reason.value, detail)
