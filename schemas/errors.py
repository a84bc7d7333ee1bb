"""Every error that Hookline raises on purpose. Each says what happened, to what, and what to do.

HooklineError
├── ConfigurationError        hookline.yaml, HOOKLINE_… or a command's arguments
├── SecretError
│   ├── SecretReferenceError  a reference is not of a form that we know
│   ├── SecretFormatError     a secret's value is not what its provider's scheme needs
│   └── SecretUnavailable     the backend did not give the value
│       └── BackendAway       it gave no answer at all: what it last said may count for a while
├── AccessError               who asks may not do this
│   ├── TokenRefused          no API token of ours, or one that counts no more
│   │   └── TokenOfOtherEnvironment
│   ├── TokensUnknown         which tokens there are is not known yet
│   └── ScopeMissing          the token is good, and not for this
├── AuditUnavailable          a change was not made, since it could not be written down
├── CodecError
│   ├── NotSingleObject       bytes without the Avro single-object marker
│   ├── UnknownSchema         a fingerprint of no version that we have
│   └── Undecodable           the schema is known, the bytes do not follow it
├── PublishError
│   ├── Overloaded            the bound on what may be in flight is reached
│   ├── NotAcknowledged       Kafka did not confirm in time, or refused
│   ├── PublisherClosed       shutting down
│   ├── SpoolFull             Kafka is away, and the spool has reached its bound
│   └── SpoolFailed           the spool's disk did not take it, or does not answer
├── SpoolError                the spool's file cannot be used
│   └── SpoolLocked           another process has it open
├── StoreError
│   ├── StoreLocked           another process has this store
│   ├── StoreUnavailable      cannot be opened, read or written now
│   ├── Fenced                somebody else owns the partition now
│   └── StatementFailed       one of a batch's statements failed; which one is not known
├── TopicError                a topic is missing or differs from what it must be
└── HandlerError
    ├── PermanentError        raised by a handler: no retry will help
    ├── RetryLater            raised by a handler: try again, perhaps not before a delay
    └── TransactionEnded      a handler committed or rolled back what is not its own
"""

from __future__ import annotations


class HooklineError(Exception):
    """Root of all errors that Hookline raises on purpose."""


class ConfigurationError(HooklineError):
    """One or more mistakes in what a person wrote; `problems` has a line for each."""

    def __init__(self, problems: list[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else problems
        super().__init__("\n".join(self.problems))


class SecretError(HooklineError):
    """Something about a secret; the message never holds a value."""


class SecretReferenceError(SecretError):
    """A secret reference is not of a known form."""


class SecretFormatError(SecretError):
    """A secret's value is not what its provider's scheme needs."""


class SecretUnavailable(SecretError):
    """The secret's backend did not give the value: it is not there, refused, or of no use."""


class BackendAway(SecretUnavailable):
    """The backend could not be asked, so nothing is known of the secret itself."""


class AccessError(HooklineError):
    """Who asks may not do this; the message never holds what was presented."""


class TokenRefused(AccessError):
    """What was presented is no API token that counts; `reason` is one word for a metric."""

    reason = "refused"

    def __init__(self, message: str, reason: str = "refused") -> None:
        super().__init__(message)
        self.reason = reason


class TokenOfOtherEnvironment(TokenRefused):
    """The token belongs to one environment and was used in another; the message names both."""


class TokensUnknown(AccessError):
    """The tokens topic has not been read yet, so nobody can be let in."""


class ScopeMissing(AccessError):
    """The token does not have the scope that this takes."""


class AuditUnavailable(HooklineError):
    """A change was not made, since the audit log could not be written."""


class CodecError(HooklineError):
    """Bytes that cannot be read as one of our records."""

    reason = "undecodable"


class NotSingleObject(CodecError):
    """The Avro single-object marker (C3 01) is missing."""

    reason = "not_single_object"


class UnknownSchema(CodecError):
    """The fingerprint is of no schema version that this build has."""

    reason = "unknown_schema"


class Undecodable(CodecError):
    """The schema is known and the bytes do not follow it."""

    reason = "undecodable"


class PublishError(HooklineError):
    """An event did not get into Kafka; the sender must be told to try again."""


class Overloaded(PublishError):
    """The bound on events or bytes in flight is reached."""


class NotAcknowledged(PublishError):
    """Kafka did not confirm in time, or refused."""


class PublisherClosed(PublishError):
    """The publisher is shutting down and takes nothing new."""


class SpoolFull(PublishError):
    """Kafka is away, and the spool holds as many bytes as it may."""


class SpoolFailed(PublishError):
    """The spool's disk is full or fails: the event is not safe there."""


class SpoolError(HooklineError):
    """The spool's file cannot be opened, or is not one of ours, or of a newer version."""


class SpoolLocked(SpoolError):
    """Another process has the spool's file open."""


class StoreError(HooklineError):
    """The consumer's store could not do what was asked."""


class StoreLocked(StoreError):
    """Another process has this store open."""


class StoreUnavailable(StoreError):
    """The store cannot be opened, read or written at the moment."""


class Fenced(StoreError):
    """Another owner has claimed the partition: what this one does no longer counts."""


class StatementFailed(StoreError):
    """One of the statements that a batch sent without waiting has failed."""


class TopicError(HooklineError):
    """A topic is missing or is not as it must be."""


class HandlerError(HooklineError):
    """Raised by or about a handler."""


class PermanentError(HandlerError):
    """Raise it from a handler when no retry will help: the event becomes a dead letter."""


class RetryLater(HandlerError):
    """Raise it from a handler to be tried again, not before `after_s` seconds if given."""

    def __init__(self, message: str = "", *, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class TransactionEnded(HandlerError):
    """A handler tried to begin, commit or roll back: the transaction is the consumer's."""
