"""Where a scope, a session and CSRF are asked for, and nowhere else: each endpoint's decorator."""

from __future__ import annotations

import functools
import hmac
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from console.access.sessions import Visitor
from credentials.token_check import require
from schemas.api_token import Scope
from schemas.errors import ScopeMissing

SIGN_IN: Final = "/sign-in"
CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "x-csrf-token"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: What a form may be read to, to find its CSRF field: names and a selection, never a file.
MAX_FORM_BYTES: Final = 1_048_576
MAX_FORM_FIELDS: Final = 10_000
_ABOUT: Final = "__hookline_access__"
#: A browser that comes from another site leaves the Strict cookie behind. This page is ours, so its
#: reload is not from another site, and the cookie comes along.
_AGAIN: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0">'
    "<title>Hookline</title><p>One moment …</html>"
)

Endpoint = Callable[[Request], Awaitable[Response]]
F = TypeVar("F", bound=Callable[..., Any])


def public(endpoint: F) -> F:
    """An endpoint for everybody, such as the sign-in page. What changes something needs a form's
    own origin all the same."""
    setattr(endpoint, _ABOUT, "public")
    return endpoint


def guarded(scope: Scope | None) -> Callable[[Endpoint], Endpoint]:
    """An endpoint for a visitor whose token has this scope, or for any, where that is None.

    What may change something is checked against CSRF first.
    """

    def decorate(endpoint: Endpoint) -> Endpoint:
        if not inspect.iscoroutinefunction(endpoint):
            raise TypeError(f"{endpoint!r} is not async, so it cannot be guarded")

        @functools.wraps(endpoint)
        async def inner(request: Request) -> Response:
            visitor: Visitor | None = getattr(request.state, "visitor", None)
            if visitor is None:
                return _stranger(request)
            if scope is not None:
                try:
                    require(visitor.admission, scope)
                except ScopeMissing as missing:
                    raise HTTPException(403, str(missing)) from None
            if request.method not in SAFE and visitor.csrf:
                await _check_csrf(request, visitor)
            return await endpoint(request)

        setattr(inner, _ABOUT, scope or "anybody signed in")
        return inner

    return decorate


def says_who_may(endpoint: object) -> bool:
    """Whether an endpoint is `guarded` or `public`."""
    return hasattr(endpoint, _ABOUT)


def visitor_of(request: Request) -> Visitor:
    """Who has sent a request that a guarded endpoint handles."""
    visitor: Visitor = request.state.visitor
    return visitor


def local_path(path: object) -> str:
    """`path` if it leads to a page of this console, else its first page."""
    if not isinstance(path, str) or not path.isprintable() or "\\" in path:
        return "/"
    if not path.startswith("/") or path.startswith("//") or len(path) > 2_000:
        return "/"
    parts = urlsplit(path)
    return "/" if parts.scheme or parts.netloc else path


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks for a page, rather than a script for data."""
    return (
        request.method in ("GET", "HEAD")
        and "text/html" in request.headers.get("accept", "")
        and "authorization" not in request.headers
    )


def _stranger(request: Request) -> Response:
    reason = getattr(request.state, "refused", "") or "sign in first, or send an API token"
    status: int = getattr(request.state, "refused_status", 401)
    if not wants_page(request):
        headers = {"www-authenticate": "Bearer"} if status == 401 else {}
        return JSONResponse({"error": "not_signed_in", "detail": reason}, status, headers)
    if request.headers.get("sec-fetch-site") == "cross-site":
        return HTMLResponse(_AGAIN)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"{SIGN_IN}?next={quote(local_path(here))}", 303)


async def _check_csrf(request: Request, visitor: Visitor) -> None:
    given: object = request.headers.get(CSRF_HEADER)
    if given is None:
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > MAX_FORM_BYTES:
            raise HTTPException(413, f"a form has at most {MAX_FORM_BYTES} bytes")
        form = await request.form(max_files=0, max_fields=MAX_FORM_FIELDS)
        given = form.get(CSRF_FIELD)
    text = given if isinstance(given, str) else ""
    if not hmac.compare_digest(text.encode("utf-8", "surrogatepass"), visitor.csrf.encode()):
        raise HTTPException(
            403, "this form is not from your session, or from an older one: load the page again"
        )
