"""From a request to what it asks for: bounded, strict, and nothing of it quoted back."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from console.api.problems import ApiProblem, Mistake, of_validation

MAX_BODY_BYTES: Final = 65_536
MAX_QUERY_CHARS: Final = 4_096
_KEY: Final = re.compile(
    r'"(?P<quoted>[A-Za-z0-9._~:/+=-]{1,200})"|(?P<bare>[A-Za-z0-9._~:/+=-]{1,200})'
)

M = TypeVar("M", bound=BaseModel)


async def body_bytes(request: Request) -> bytes:
    """The body; ApiProblem: 413, and 415 if there is one that is no plain JSON."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and len(length) < 20 and int(length) > MAX_BODY_BYTES:
        raise _too_large()
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    if body:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ApiProblem("not_json", "Send the body with `Content-Type: application/json`.")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise ApiProblem("not_json", "Send the body without a Content-Encoding.")
    return bytes(body)


def body_model(model: type[M], body: bytes, needed: bool) -> M:
    """What the body says; ApiProblem: 400, 422. Left out, it is `{}` where it may be."""
    if not body and needed:
        raise ApiProblem("malformed", "A JSON body is needed.")
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise of_validation(error) from None


def query_model(model: type[M] | None, request: Request) -> M | None:
    """What stands behind the question mark; ApiProblem: 422. None where nothing may."""
    if len(request.url.query) > MAX_QUERY_CHARS:
        raise ApiProblem("invalid", f"A query has at most {MAX_QUERY_CHARS} characters.")
    items = request.query_params.multi_items()
    given: dict[str, Any] = dict(items)
    if len(items) > len(given):
        raise ApiProblem(
            "invalid",
            "A parameter stands there twice.",
            errors=[Mistake(detail="Each parameter may be given once.")],
        )
    if model is None:
        if given:
            raise ApiProblem("invalid", "This takes no parameters behind the question mark.")
        return None
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise of_validation(error, query=True) from None


def idempotency_key(request: Request) -> str:
    """The key, bare or as a structured field's string; empty if there is none. ApiProblem: 400."""
    values = request.headers.getlist("idempotency-key")
    if not values:
        return ""
    match = _KEY.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        raise ApiProblem(
            "malformed",
            "The Idempotency-Key is 1 to 200 letters, digits and . _ ~ : / + = - such as a UUID.",
            errors=[Mistake(detail="It is not of this form.", parameter="Idempotency-Key")],
        )
    return match["quoted"] or match["bare"]


def _too_large() -> ApiProblem:
    # The rest is not read: the connection is of no use for another request.
    return ApiProblem(
        "too_large", f"A body has at most {MAX_BODY_BYTES} bytes.", headers={"connection": "close"}
    )
