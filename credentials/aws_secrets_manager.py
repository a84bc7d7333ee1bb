"""`aws-sm:name#key`: a secret in AWS Secrets Manager (by boto3).

Who we are is the AWS SDK's own chain: a role of the pod, the task or the machine, then variables.
"""

from __future__ import annotations

import json
import threading
from typing import Any, Final

from credentials.extras import client_module
from credentials.reference import Reference
from credentials.secret import Secret
from credentials.value import away, detail, text_value, unavailable
from schemas.errors import SecretUnavailable

_GONE: Final = frozenset({"ResourceNotFoundException", "InvalidRequestException"})
#: DecryptionFailure: the key in KMS is disabled or not ours to use.
_DENIED: Final = frozenset({"AccessDeniedException", "AccessDenied", "DecryptionFailure"})
_WRONG: Final = frozenset({"InvalidParameterException", "ValidationException"})


class AwsSecretsManagerBackend:
    """Reads the version of a staging label, AWSCURRENT unless the reference names another.

    A secret that is not there, is marked for deletion, or is denied is an answer about it, a
    revocation; everything else is BackendAway.
    """

    scheme = "aws-sm"

    def __init__(
        self,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        """`region` and `endpoint_url` are the SDK's own if None; an ARN says its region itself."""
        self._region = region
        self._endpoint_url = endpoint_url
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._session: Any = None
        # One a region, and there are some forty regions.
        self._clients: dict[str | None, Any] = {}

    def fetch(self, reference: Reference) -> Secret:
        """The whole value, or its `key` where the value is a JSON object."""
        errors = client_module("botocore.exceptions", "aws", reference)
        stage = {"VersionStage": reference.stage} if reference.stage else {}
        failure: SecretUnavailable
        try:
            answer = self._client(reference).get_secret_value(SecretId=reference.locator, **stage)
        except errors.ClientError as error:
            failure = _explain(reference, error)
        except errors.NoRegionError:
            failure = unavailable(
                reference, "no AWS region is chosen; write credentials.aws.region or set AWS_REGION"
            )
        except errors.ParamValidationError:
            failure = unavailable(reference, "this is no name of a secret there; check it")
        except (errors.NoCredentialsError, errors.PartialCredentialsError):
            failure = away(
                reference,
                "the AWS SDK finds no credentials; give the pod, task or machine a role "
                "(docs/secrets.md)",
            )
        except (errors.BotoCoreError, errors.HTTPClientError) as error:
            failure = away(
                reference,
                f"AWS Secrets Manager does not answer ({type(error).__name__}); check "
                "credentials.aws, the network and the endpoint",
            )
        else:
            return _value(reference, answer)
        raise failure

    def _client(self, reference: Reference) -> Any:
        region = region_of(reference) or self._region
        boto3 = client_module("boto3", "aws", reference)
        config = client_module("botocore.config", "aws", reference)
        # Making a client is not safe in threads; using one is.
        with self._lock:
            if self._session is None:
                self._session = boto3.session.Session()
            if region not in self._clients:
                self._clients[region] = self._session.client(
                    "secretsmanager",
                    region_name=region,
                    endpoint_url=self._endpoint_url,
                    config=config.Config(
                        connect_timeout=self._timeout_s,
                        read_timeout=self._timeout_s,
                        retries={"total_max_attempts": 2, "mode": "standard"},
                    ),
                )
            return self._clients[region]


def region_of(reference: Reference) -> str:
    """The region that an ARN names; empty for a name."""
    parts = reference.locator.split(":")
    return parts[3] if len(parts) > 5 and parts[0] == "arn" else ""


def _explain(reference: Reference, error: Any) -> SecretUnavailable:
    code = error.response.get("Error", {}).get("Code", "")
    # The SDK's own way to its credentials may be refused too, and says nothing of the secret.
    about_it = error.operation_name == "GetSecretValue"
    if about_it and code in _GONE:
        stage = reference.stage or "AWSCURRENT"
        return unavailable(
            reference,
            f"there is no such secret, it is marked for deletion, or it has no version {stage} "
            f"({code}); check name, region and stage",
        )
    if about_it and code in _DENIED:
        return unavailable(
            reference,
            f"AWS denies it ({code}); Hookline's role needs secretsmanager:GetSecretValue on it, "
            "and kms:Decrypt where it has a key of its own (docs/secrets.md)",
        )
    if about_it and code in _WRONG:
        return unavailable(reference, f"this is no name or stage of a secret there ({code})")
    return away(
        reference,
        f"AWS Secrets Manager cannot answer now ({detail(code or 'no code')} to "
        f"{error.operation_name}); check the credentials and the network",
    )


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
