"""Codecs of the tokens topic and of the audit topic; nothing else decodes them.

A field that is a time ends in `_us` here and in nothing there.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from schemas.api_token import ApiToken, TokenRevocation, TokenUse
from schemas.audit import AuditRecord, Phase
from schemas.codec import Codec, load_schemas

S = TypeVar("S", bound=msgspec.Struct)


def _to_record(value: msgspec.Struct) -> dict[str, Any]:
    return {name.removesuffix("_us"): getattr(value, name) for name in value.__struct_fields__}


def _codec(name: str, kind: type[S]) -> Codec[S]:
    fields = {field.removesuffix("_us"): field for field in kind.__struct_fields__}

    def from_record(record: dict[str, Any]) -> S:
        return kind(**{fields[field]: value for field, value in record.items()})

    return Codec[S](load_schemas(name), _to_record, from_record)


def _token_from_record(record: dict[str, Any]) -> ApiToken:
    return ApiToken(
        **{
            **{k: v for k, v in record.items() if k not in ("created_at", "expires_at")},
            "scopes": tuple(record["scopes"]),
            "created_at_us": record["created_at"],
            "expires_at_us": record["expires_at"],
        }
    )


def _audit_to_record(record: AuditRecord) -> dict[str, Any]:
    return _to_record(record) | {"phase": record.phase.name}


def _audit_from_record(record: dict[str, Any]) -> AuditRecord:
    # A phase of a later version is none that we may guess at: undecodable.
    record["phase"] = Phase[record["phase"]]
    record["at_us"] = record.pop("at")
    return AuditRecord(**record)


API_TOKEN: Final = Codec[ApiToken](load_schemas("api_token"), _to_record, _token_from_record)
TOKEN_REVOCATION: Final = _codec("token_revocation", TokenRevocation)
TOKEN_USE: Final = _codec("token_use", TokenUse)
AUDIT: Final = Codec[AuditRecord](load_schemas("audit"), _audit_to_record, _audit_from_record)
