"""`aws-sm:name#key`: a secret in AWS Secrets Manager (by boto3).

Who we are is the AWS SDK's own chain: a role of the pod, the task or the machine, then variables.
"""

from __future__ import annotations

import json
from typing import Any

from credentials.aws_clients import WRONG, AwsClients, AwsFailure
from credentials.reference import Reference
from credentials.secret import Secret
from credentials.value import away, text_value, unavailable
from schemas.errors import SecretUnavailable


class AwsSecretsManagerBackend:
    """Reads the version of a staging label, AWSCURRENT unless the reference names another.

    A secret that is not there, is marked for deletion, or is denied is an answer about it, a
    revocation; everything else is BackendAway.
    """

    scheme = "aws-sm"

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    def fetch(self, reference: Reference) -> Secret:
        """The whole value, or its `key` where the value is a JSON object."""
        stage = {"VersionStage": reference.stage} if reference.stage else {}
        failure: SecretUnavailable
        try:
            answer = self._clients.ask(
                reference, "get_secret_value", SecretId=reference.locator, **stage
            )
        except AwsFailure as error:
            failure = _explain(reference, error)
        else:
            return _value(reference, answer)
        raise failure


def _explain(reference: Reference, error: AwsFailure) -> SecretUnavailable:
    if error.gone:
        stage = reference.stage or "AWSCURRENT"
        return unavailable(
            reference,
            f"there is no such secret, it is marked for deletion, or it has no version {stage} "
            f"({error.code}); check name, region and stage",
        )
    if error.denied:
        return unavailable(
            reference,
            f"AWS denies it ({error.code}); Hookline's role needs secretsmanager:GetSecretValue on "
            "it, and kms:Decrypt where it has a key of its own (docs/secrets.md)",
        )
    if error.code in WRONG:
        return unavailable(reference, f"this is no name or stage of a secret there ({error.code})")
    return (unavailable if error.settled else away)(reference, str(error))


def _value(reference: Reference, answer: dict[str, Any]) -> Secret:
    value = answer.get("SecretString")
    if not reference.key:
        return text_value(reference, value)
    data: Any = None
    try:
        data = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        # Raised below: the parser's error holds the whole document.
        data = None
    if not isinstance(data, dict):
        raise unavailable(
            reference,
            f"its value is no JSON object, so it has no key {reference.key} (a binary secret must "
            "be stored as base64 text); leave # and the key out, or store an object",
        )
    if reference.key not in data:
        raise unavailable(
            reference, f"the secret has no key {reference.key}; add it or name another"
        )
    return text_value(reference, data[reference.key])
