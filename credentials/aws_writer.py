"""Writes to AWS Secrets Manager: one secret a name, marked by a tag."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from credentials.aws_clients import AwsClients, AwsFailure
from credentials.reference import Reference, parse_reference
from credentials.secret import Secret
from credentials.writing import (
    MARK,
    check_prefix,
    check_writable,
    not_deleted,
    not_deleted_now,
    not_ours,
    not_written,
    not_written_now,
)
from schemas.errors import SecretUnavailable

#: Two that write the same name at once take turns.
_TRIES: Final = 5
_WAIT_S: Final = 0.1
_TAGS: Final = [{"Key": key, "Value": value} for key, value in MARK.items()]
_RIGHTS: Final = (
    "Hookline's role needs secretsmanager:DescribeSecret, CreateSecret, TagResource, "
    "PutSecretValue, RestoreSecret and DeleteSecret on it (docs/secrets.md has the policy)"
)


class _Refused(Exception):
    """What is there is not ours."""


class AwsSecretsManagerWriter:
    """Writes below `prefix/`; touches only what is tagged managed-by: hookline."""

    scheme = "aws-sm"

    def __init__(
        self, clients: AwsClients, prefix: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """SecretReferenceError if `prefix` cannot stand before a name."""
        self._sleep = sleep
        self._clients = clients
        self._prefix = check_prefix(prefix, "hookline/connect")

    def write(self, name: str, secret: Secret) -> str:
        """Its reference, once AWS has it as AWSCURRENT."""
        check_writable(name, secret)
        reference = Reference(self.scheme, f"{self._prefix}/{name}")
        failure: SecretUnavailable
        try:
            self._write(reference, secret)
        except AwsFailure as error:
            if error.denied:
                failure = not_written(name, f"AWS denies it ({error.code}); {_RIGHTS}")
            elif error.settled:
                failure = not_written(name, str(error))
            else:
                failure = not_written_now(name, str(error))
        except _Refused as error:
            failure = not_written(name, str(error))
        else:
            return str(reference)
        raise failure

    def delete(self, ref: str) -> None:
        """Delete it with all its versions, without a time in which it could be had again."""
        reference = parse_reference(ref)
        if reference.scheme != self.scheme or not reference.locator.startswith(f"{self._prefix}/"):
            raise not_ours(ref, f"its place is not below {self.scheme}:{self._prefix}/")
        failure: SecretUnavailable
        try:
            found = self._described(reference)
            if found is None:
                return
            if not _marked(found):
                raise not_ours(ref, "it has no tag managed-by: hookline")
            if found.get("DeletedDate"):
                # Deleted by hand, with a time to have it again: AWS wants it back first.
                self._ask(reference, "restore_secret")
            self._ask(reference, "delete_secret", ForceDeleteWithoutRecovery=True)
        except AwsFailure as error:
            if error.gone:
                return
            if error.denied:
                failure = not_deleted(ref, f"AWS denies it ({error.code}); {_RIGHTS}")
            elif error.settled:
                failure = not_deleted(ref, str(error))
            else:
                failure = not_deleted_now(ref, str(error))
        else:
            return
        raise failure

    def _write(self, reference: Reference, secret: Secret) -> None:
        value = secret.reveal()
        for attempt in range(_TRIES):
            if attempt:
                self._sleep(_WAIT_S * 2**attempt)
            found = self._described(reference)
            try:
                if found is None:
                    self._ask(
                        reference,
                        "create_secret",
                        Name=reference.locator,
                        SecretString=value,
                        Tags=_TAGS,
                    )
                    return
                if not _marked(found):
                    raise _Refused(
                        f"what is named {reference.locator} in AWS was not written by Hookline "
                        "(no tag managed-by: hookline); rename it, or choose another prefix"
                    )
                if found.get("DeletedDate"):
                    self._ask(reference, "restore_secret")
                self._ask(reference, "put_secret_value", SecretString=value)
            except AwsFailure as error:
                # Made or taken away by another since it was looked at; or it was deleted a moment
                # ago, which AWS only begins with when it says that it is done.
                if not (error.gone or error.code == "ResourceExistsException"):
                    raise
            else:
                return
        raise AwsFailure(
            "a secret of this name is being deleted there, or somebody else writes to it at the "
            "same time; try again in a minute"
        )

    def _described(self, reference: Reference) -> Any:
        try:
            return self._ask(reference, "describe_secret")
        except AwsFailure as error:
            if error.code == "ResourceNotFoundException":
                return None
            raise

    def _ask(self, reference: Reference, operation: str, **arguments: Any) -> Any:
        if "Name" not in arguments:
            arguments["SecretId"] = reference.locator
        return self._clients.ask(reference, operation, **arguments)


def _marked(found: Any) -> bool:
    tags = {tag.get("Key"): tag.get("Value") for tag in found.get("Tags") or ()}
    return all(tags.get(name) == value for name, value in MARK.items())
