"""Codecs of what the connect flow and the API keep; nothing else decodes it.

A field that is a time ends in `_us` here and in nothing there.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from schemas.api_answer import AnswerPhase, ApiAnswer
from schemas.codec import Codec, load_schemas
from schemas.connect_session import ConnectSession
from schemas.connection_access import ConnectionAccess


def _to_record(value: msgspec.Struct) -> dict[str, Any]:
    return {name.removesuffix("_us"): getattr(value, name) for name in value.__struct_fields__}


def _session_from_record(record: dict[str, Any]) -> ConnectSession:
    record["created_at_us"] = record.pop("created_at")
    record["expires_at_us"] = record.pop("expires_at")
    record["systems"] = tuple(record["systems"])
    return ConnectSession(**record)


def _access_from_record(record: dict[str, Any]) -> ConnectionAccess:
    record["changed_at_us"] = record.pop("changed_at")
    return ConnectionAccess(**record)


def _answer_from_record(record: dict[str, Any]) -> ApiAnswer:
    record["at_us"] = record.pop("at")
    record["phase"] = AnswerPhase(record["phase"])
    return ApiAnswer(**record)


CONNECT_SESSION: Final = Codec[ConnectSession](
    load_schemas("connect_session"), _to_record, _session_from_record
)
CONNECTION_ACCESS: Final = Codec[ConnectionAccess](
    load_schemas("connection_access"), _to_record, _access_from_record
)
API_ANSWER: Final = Codec[ApiAnswer](load_schemas("api_answer"), _to_record, _answer_from_record)
