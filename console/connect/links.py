"""The link to the hosted page.

The token stands behind `#`, which a browser sends to nobody: so it is in no access log, ours or a
proxy's, and in no Referer. The page's script takes it out of the address before anything else.
"""

from __future__ import annotations

from credentials.secret import Secret
from producer.connect.session import parse_session_token


def hosted_link(public_url: str, token: Secret) -> Secret:
    """`{public_url}/connect/{session id}#{token}`, for the customer alone."""
    text = token.reveal()
    return Secret(f"{public_url.rstrip('/')}/connect/{parse_session_token(text).id}#{text}")
