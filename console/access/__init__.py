"""Who may see and change what in the console: sign-in with an API token, sessions, CSRF, scopes.

How a page is wired (nothing else in the console looks at a cookie, a token or a scope), where
`follower` is a TokenFollower and `audit` an AuditLog of `hookline/processes/access.py`:

    gate = Gate(follower.tokens, GateRules(public_url="https://console.example.com"),
                audit=audit, used=follower.used)
    app = Starlette(routes=routes, middleware=[Middleware(AccessMiddleware, gate=gate)])
    gate.check_routes(app.routes, public_mounts={"/static"})    # raises if a route says nothing

    @guarded(Scope.EVENTS_READ)
    async def overview(request): ...            # visitor_of(request): a Visitor
    @guarded(Scope.DEAD_LETTERS_WRITE)
    async def redrive(request): ...             # POST: CSRF was checked, request.form() is there
    @public
    async def sign_in_page(request): ...

- Every form that posts has a hidden field `csrf` with `visitor.csrf` in it; a script sends it as
  `X-CSRF-Token`. `visitor.may(scope)` says which buttons to draw.
- Sign-in, in the endpoint of POST /sign-in: `found = gate.sign_in(request, form["token"])`; with
  `found.session` return `gate.signed_in(RedirectResponse(local_path(form.get("next")), 303),
  found)`, else the page again with `found.message`, `found.status` and `found.headers`.
  Sign-out, a POST that is `@guarded(None)` (for whoever is signed in):
  `gate.sign_out(request, RedirectResponse("/sign-in", 303))`.
- Without a session a page redirects to `/sign-in?next=…`, anything else (a script, `Authorization:
  Bearer`, not GET) is answered 401 in JSON; a missing scope raises `HTTPException(403)` with the
  next step as detail, so the console's own error page shows it. Refused CSRF: 403, too.
- The middleware adds the security headers to every response: no inline script or style, no frame.
  A page that must differ sets the header itself. Long answers (server-sent events) are cut off
  within `GateRules.watch_s` of the token's end.
- A change is made inside `async with audited(request, "dead_letter.redrive", target="17") as
  change:` (console.access.auditing); `change.note(events=12)` adds a count.
- Payloads and headers are shown through `console.redaction.PayloadRedactor`, and only with
  `visitor.may(Scope.PAYLOADS_READ)`.
"""

from console.access.gate import AccessMiddleware, Gate, GateRules, SignIn
from console.access.guard import guarded, local_path, public, visitor_of
from console.access.sessions import Session, Visitor

__all__ = [
    "AccessMiddleware",
    "Gate",
    "GateRules",
    "Session",
    "SignIn",
    "Visitor",
    "guarded",
    "local_path",
    "public",
    "visitor_of",
]
