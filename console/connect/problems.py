"""What the component is told when something does not work: problem details (RFC 9457), each with a
`code` for the script and a `detail` that the customer may read."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from producer.connect.service import FlowRefused
from producer.connect.session import SessionRefused
from producer.connect.view import View, view_builtins

_TITLES: Final = {
    400: "Not understood",
    401: "This session lets nobody in",
    403: "Not from this page",
    404: "There is no such thing",
    405: "Not by this method",
    409: "Not as the flow stands now",
    413: "Too large",
    415: "Not JSON",
    422: "Not as it should be",
    429: "Too often",
    500: "A fault of ours",
    503: "Not now",
}
#: Of a FlowRefused; all else is 409.
_STATUSES: Final = {"unknown_system": 422, "invalid": 422, "unavailable": 503}


class Refused(Exception):
    """Ends a request with a problem."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry_after_s: int = 0,
        view: View | None = None,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.view = view


def of_session(refused: SessionRefused) -> Refused:
    """Whatever the reason, it is the session that does not count: 401."""
    return Refused(401, refused.reason, refused.text)


def of_flow(refused: FlowRefused) -> Refused:
    """409 with how the flow stands; 503 where a part is away."""
    status = _STATUSES.get(refused.code, 409)
    return Refused(
        status,
        refused.code,
        refused.text,
        view=refused.view,
        retry_after_s=5 if status == 503 else 0,
    )


def too_often(wait_s: float) -> Refused:
    """429."""
    seconds = int(wait_s) + 1
    return Refused(
        429, "too_often", f"That was a lot at once. Wait {seconds} s.", retry_after_s=seconds
    )


def problem(request: Request, refused: Refused) -> Response:
    """The answer."""
    page_id: bytes = getattr(request.state, "page_id", b"")
    body: dict[str, Any] = {
        "type": f"urn:hookline:connect:{refused.code}",
        "title": _TITLES.get(refused.status, "This did not work"),
        "status": refused.status,
        "detail": refused.detail,
        "code": refused.code,
        "request_id": page_id.hex(),
    }
    if refused.view is not None:
        body["view"] = view_builtins(refused.view)
    headers = {"cache-control": "no-store"}
    if refused.retry_after_s:
        headers["retry-after"] = str(refused.retry_after_s)
    if refused.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(msgspec.json.encode(body), refused.status, headers, "application/problem+json")
