"""Handlers that fail in every way that could carry a payload or a secret out of the process.

Each knows the secrets of its process, as a user's code does: from the environment.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings

from hookline import Event, Handlers, PermanentError, RetryLater, Transaction

handlers = Handlers()
log = logging.getLogger("users.own")

if os.environ.get("CANARY_CRASH") == "at import":
    names = ("KAFKA_PASSWORD", "FORWARD_BEARER", "FORWARD_SECRET", "TARGET_URL")
    raise RuntimeError(f"no connection with {[os.environ[name] for name in names]}")


def text_of(event: Event) -> str:
    return event.payload.decode("utf-8", "replace")


@handlers.on("github.*")
def applies(event: Event, tx: Transaction) -> None:
    """Works, and says what it knows of this process' secrets to the log, at every level."""
    password, token = os.environ["KAFKA_PASSWORD"], os.environ["FORWARD_BEARER"]
    log.debug("connecting with %s", password)
    log.info("sending", extra={"data": {"note": f"x={token}&y", "list": [password, {"k": token}]}})
    log.warning("the token is " + token)
    log.error("%d of %s", "not a number", password)
    warnings.warn(f"{token} is old", DeprecationWarning, stacklevel=1)
    try:
        raise ConnectionError(f"kafka://user:{password}@broker")
    except ConnectionError:
        log.exception("no connection", stack_info=True)

    def dies() -> None:
        raise RuntimeError(f"with {password!r} and {token.encode()!r}")

    thread = threading.Thread(target=dies, name=f"thread-{token}")
    thread.start()
    thread.join()


@handlers.on("stripe.*", "shopify.*")
def is_permanent(event: Event, tx: Transaction) -> None:
    raise PermanentError(f"cannot use {text_of(event)}")


@handlers.on("slack.*", "gitlab.*")
def quotes_the_payload(event: Event, tx: Transaction) -> None:
    raise ValueError(text_of(event), event)


@handlers.on("hmac.*", "token.*")
def has_secrets_in_its_locals(event: Event) -> None:
    password = os.environ["KAFKA_PASSWORD"]
    payload = text_of(event)
    try:
        raise KeyError(password)
    except KeyError as error:
        raise RetryLater(f"{password} {payload}", after_s=0.01) from error


@handlers.on("meta.*")
async def fails_in_a_group(event: Event) -> None:
    raise ExceptionGroup(text_of(event), [ValueError(text_of(event)), OSError(5, text_of(event))])


@handlers.on("standard_webhooks.*")
def breaks_a_rule_of_the_database(event: Event, tx: Transaction) -> None:
    """Databases quote the row in their error."""
    mark = "%s" if os.environ.get("CANARY_STORE") == "postgresql" else "?"
    tx.execute("CREATE TABLE IF NOT EXISTS notes (note TEXT UNIQUE)")
    for _ in range(2):
        tx.execute(f"INSERT INTO notes VALUES ({mark})", (text_of(event),))


@handlers.on("cloudevents.*")
def ends_the_process_it_thinks(event: Event) -> None:
    sys.exit(text_of(event))
