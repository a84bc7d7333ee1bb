"""From a request of the component to what it wants; bounded, and never quoted back."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta
from starlette.requests import Request

from console.connect.problems import Refused
from producer.connect.service import Action, ActionKind

MAX_BODY_BYTES: Final = 65_536
#: Twelve fields and twelve more is what an entry of the catalogue may have.
MAX_VALUES: Final = 40
#: A private key in PEM goes in.
MAX_VALUE_CHARS: Final = 16_384
MAX_QUERY_CHARS: Final = 100
MAX_SYSTEMS: Final = 100

_Name = Annotated[str, Meta(max_length=64)]
_Value = Annotated[str, Meta(max_length=MAX_VALUE_CHARS)]


class _Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    action: ActionKind
    revision: Annotated[int, Meta(ge=0, le=2**53)]
    system: Annotated[str, Meta(max_length=64)] = ""
    values: Annotated[dict[_Name, _Value], Meta(max_length=MAX_VALUES)] = {}


_DECODER: Final = msgspec.json.Decoder(_Wanted)


async def wanted_action(request: Request) -> Action:
    """The action that was sent; Refused: 413, 415 or 400."""
    body = await bounded_body(request)
    try:
        sent = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Without the decoder's own text: it may quote a value.
        raise Refused(400, "malformed", "This is no action that we know.") from None
    return Action(kind=sent.action, revision=sent.revision, system=sent.system, values=sent.values)


async def bounded_body(request: Request) -> bytes:
    """The JSON body; Refused: 413, 415."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "not_json", "Send application/json.")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise Refused(413, "too_large", f"At most {MAX_BODY_BYTES} bytes.")
    return bytes(body)


def wanted_systems(request: Request) -> tuple[str, int]:
    """What is searched for, and how many at most; Refused: 400."""
    text = request.query_params.get("q", "").strip()
    limit = request.query_params.get("limit", "50")
    if len(text) > MAX_QUERY_CHARS:
        raise Refused(400, "malformed", f"Search for at most {MAX_QUERY_CHARS} characters.")
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 4 and int(limit) > 0):
        raise Refused(400, "malformed", f"limit is a number from 1 to {MAX_SYSTEMS}.")
    return text, min(int(limit), MAX_SYSTEMS)


def session_token(request: Request) -> str:
    """The token of `Authorization: Bearer`; a cookie or an address is never looked at."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip()[:512] if scheme.lower() == "bearer" else ""
