"""Sabotage: the real gateway with a line that tells a secret, to see that the search finds it.

LEAK says which: `to the log` leaves it to the redactor, `past the redactor` takes that out of the
way, `to stderr` goes round both and writes base64.
"""

from __future__ import annotations

import base64
import logging
import os
import sys
from typing import Any

from hookline import command
from hookline.telemetry import logs
from producer.gateway.receiver import Receiver

_receive: Any = Receiver.receive


def _leak(self: Any, *arguments: Any, **named: Any) -> Any:
    secret = os.environ["LEAKED"]
    if os.environ["LEAK"] == "to stderr":
        print(base64.b64encode(b"x:" + secret.encode()).decode(), file=sys.stderr, flush=True)
    else:
        logging.getLogger("hookline.gateway").debug("checking with %s", secret)
    return _receive(self, *arguments, **named)


if __name__ == "__main__":
    Receiver.receive = _leak  # type: ignore[method-assign]
    if os.environ["LEAK"] == "past the redactor":
        logs.Fields._text = lambda self, text: text  # type: ignore[method-assign]
    command.main()
