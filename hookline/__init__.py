"""The front door: the names that a handler's author imports."""

from consumer.handlers.registration import Handlers
from consumer.stores.transaction import Transaction
from schemas.errors import PermanentError, RetryLater
from schemas.event import Event

__all__ = ["Event", "Handlers", "PermanentError", "RetryLater", "Transaction"]
