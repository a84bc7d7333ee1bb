"""The connect component's HTTP: its endpoints, its script, and the hosted page that uses it.

Its own door, before the console's: a session token admits to `/connect/api` and to nothing else,
and neither an API token nor a cookie admits there. Wired by `ConnectHttp(service, ...)`, which
`console.app.build` takes.
"""

from console.connect.http import ConnectDoor, ConnectHttp
from console.connect.links import hosted_link

__all__ = ["ConnectDoor", "ConnectHttp", "hosted_link"]
