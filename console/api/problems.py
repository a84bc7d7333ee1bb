"""A problem as an answer: `application/problem+json` (RFC 9457), whatever went wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from console.api.problem_kinds import KINDS, TYPE
from producer.connect.service import FlowRefused
from producer.connect.session import SessionRefused

MAX_ERRORS: Final = 50
_MAX_NAME_CHARS: Final = 100
#: Of a FlowRefused: which problem it is. All else is `not_now`.
_OF_FLOW: Final = {
    "exists": "exists",
    "unknown_system": "invalid",
    "invalid": "invalid",
    "unavailable": "unavailable",
    "not_rotatable": "not_rotatable",
    "system_refused": "system_refused",
    "system_unclear": "system_unclear",
}
_NOT_ASCII: Final = re.compile(r"[^\x20-\x7e]")


class Mistake(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong: in the body at `pointer` (RFC 6901), or in `parameter`."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class ApiProblem(Exception):
    """Ends a request with a problem of a kind. Its texts never hold what was sent."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mistake] = (),
        retry_after_s: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.errors = list(errors)[:MAX_ERRORS]
        self.retry_after_s = retry_after_s
        self.headers = dict(headers or {})


def of_validation(error: ValidationError, *, query: bool = False) -> ApiProblem:
    """What pydantic found: 400 where it is no JSON, else 422 with each mistake and its place."""
    mistakes: list[Mistake] = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        if item["type"] == "json_invalid":
            # Without the parser's own text, which may quote what was sent.
            return ApiProblem("malformed", "The body is not JSON, or not UTF-8.")
        text = {
            "extra_forbidden": "There is no such field.",
            "missing": "This is needed.",
        }.get(item["type"], item["msg"])
        name = _named(item["loc"])
        mistakes.append(
            Mistake(detail=text, parameter=name[1:])
            if query
            else Mistake(detail=text, pointer=name)
        )
    return ApiProblem(
        "invalid",
        "Something that was sent is not as it should be: see errors.",
        errors=mistakes,
    )


def of_session(refused: SessionRefused) -> ApiProblem:
    """A connect session that is not there, or no more."""
    if refused.reason in ("expired", "ended"):
        return ApiProblem("session_over", refused.text)
    return ApiProblem("not_found", "There is no connect session with this id.")


def of_flow(refused: FlowRefused) -> ApiProblem:
    """What the connect flow does not do."""
    code = _OF_FLOW.get(refused.code, "not_now")
    errors = (
        [Mistake(detail=refused.text, pointer="/system")]
        if refused.code == "unknown_system"
        else []
    )
    return ApiProblem(
        code, refused.text, errors=errors, retry_after_s=5 if code == "unavailable" else 0
    )


def too_often(wait_s: float) -> ApiProblem:
    """429 by our own limits."""
    seconds = int(wait_s) + 1
    return ApiProblem(
        "rate_limited", f"That was a lot at once: wait {seconds} s.", retry_after_s=seconds
    )


def answer(request: Request, problem: ApiProblem) -> Response:
    """The problem as JSON."""
    kind = KINDS[problem.code]
    page_id: bytes = getattr(request.state, "page_id", b"")
    body: dict[str, Any] = {
        "type": f"{TYPE}{problem.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "instance": f"urn:hookline:request:{page_id.hex()}",
        "request_id": page_id.hex(),
    }
    if problem.errors:
        body["errors"] = problem.errors
    headers = dict(problem.headers)
    if problem.retry_after_s:
        headers["retry-after"] = str(problem.retry_after_s)
    if kind.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(msgspec.json.encode(body), kind.status, headers, "application/problem+json")


def _named(loc: Sequence[int | str]) -> str:
    """A JSON pointer. A name of the sender's own is shortened, and shown in ASCII."""
    parts = []
    for part in loc:
        text = _NOT_ASCII.sub("?", str(part))[:_MAX_NAME_CHARS]
        parts.append("/" + text.replace("~", "~0").replace("/", "~1"))
    return "".join(parts)
