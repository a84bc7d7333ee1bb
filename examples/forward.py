"""Forwards paid orders to another service: signed, with an Idempotency-Key, retried in order.

The same without code is `consumer.forward` in hookline.yaml: see docs/handlers.md.
"""

from __future__ import annotations

import os

from consumer.handlers.forward import forward
from hookline import Handlers

handlers = Handlers()

handlers.on("hmac.order.paid")(
    forward(
        os.environ.get("WAREHOUSE_URL", "http://localhost:9000/orders"),
        # Its receiver verifies it with any Standard Webhooks library.
        secrets=[os.environ["WAREHOUSE_SIGNING_SECRET"]],
    )
)
