"""A process of Hookline's for which some names lead to this machine, as a DNS of its own would.

python -m tests.vendors.named console --config …, with VENDOR_HOSTS="api.github.com *.zendesk.com".
All else is looked up as ever; below `.example` there is nothing, whatever the network says.
"""

from __future__ import annotations

import fnmatch
import os
import socket
import sys
from typing import Any

_look_up = socket.getaddrinfo


def _named(host: Any, *arguments: Any, **options: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else str(host or "")
    hosts = os.environ["VENDOR_HOSTS"].split()
    if any(fnmatch.fnmatch(name.lower(), one) for one in hosts):
        host = "127.0.0.1"
    elif name.lower().endswith(".example"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _look_up(host, *arguments, **options)


def main() -> None:
    """Run the command."""
    from hookline.command import main as run

    socket.getaddrinfo = _named
    sys.argv[0] = "hookline"
    run()


if __name__ == "__main__":
    main()
