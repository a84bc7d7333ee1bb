"""The headers that every answer of the console has, unless it sets one itself."""

from __future__ import annotations

from typing import Final

#: Nothing inline, nothing from elsewhere, in nobody's frame.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

_ALWAYS: Final = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Not no-referrer: a form's Origin would be `null` then, which is how a forged one looks.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    # A page may hold a customer's data; what may be kept (static files) says so itself.
    (b"cache-control", b"no-store"),
)
_HTTPS: Final = ((b"strict-transport-security", b"max-age=31536000"),)


def with_security(headers: list[tuple[bytes, bytes]], *, https: bool) -> list[tuple[bytes, bytes]]:
    """An answer's headers and those of ours that are not among them."""
    there = {name.lower() for name, _ in headers}
    ours = _ALWAYS + (_HTTPS if https else ())
    return [*headers, *(one for one in ours if one[0] not in there)]
