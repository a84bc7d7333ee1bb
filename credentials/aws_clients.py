"""The AWS SDK's clients, and what its many errors come down to, for reading and for writing."""

from __future__ import annotations

import threading
from typing import Any, Final

from credentials.extras import client_module
from credentials.reference import Reference
from credentials.value import detail

_GONE: Final = frozenset({"ResourceNotFoundException", "InvalidRequestException"})
#: DecryptionFailure: the key in KMS is disabled or not ours to use.
_DENIED: Final = frozenset(
    {"AccessDeniedException", "AccessDenied", "DecryptionFailure", "EncryptionFailure"}
)
WRONG: Final = frozenset({"InvalidParameterException", "ValidationException"})


class AwsFailure(Exception):
    """An operation failed; the text says why, and what to do.

    `code` is AWS's own word about the secret, empty where it is about anything else; `settled` if
    trying again cannot help.
    """

    def __init__(self, text: str, code: str = "", *, settled: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.settled = settled

    @property
    def gone(self) -> bool:
        """The secret is not there, or is marked for deletion."""
        return self.code in _GONE

    @property
    def denied(self) -> bool:
        """It is there or not, and not ours to touch."""
        return self.code in _DENIED


class AwsClients:
    """One client a region, made at the first use. Any thread may use it."""

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
        # There are some forty regions.
        self._clients: dict[str | None, Any] = {}

    def ask(self, reference: Reference, operation: str, **arguments: Any) -> Any:
        """What the operation of Secrets Manager answers; AwsFailure if it does not."""
        errors = client_module("botocore.exceptions", "aws", reference)
        failure: AwsFailure
        try:
            client = self._client(reference)
            return getattr(client, operation)(**arguments)
        except errors.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            # The SDK's own way to its credentials may be refused too, and says nothing of the
            # secret.
            about_it = error.operation_name.lower() == operation.replace("_", "")
            failure = AwsFailure(
                f"AWS Secrets Manager cannot answer now ({detail(code or 'no code')} to "
                f"{error.operation_name}); check the credentials and the network",
                code if about_it else "",
                settled=about_it and code in WRONG,
            )
        except errors.NoRegionError:
            failure = AwsFailure(
                "no AWS region is chosen; write credentials.aws.region or set AWS_REGION",
                settled=True,
            )
        except errors.ParamValidationError:
            failure = AwsFailure("this is no name of a secret there; check it", settled=True)
        except (errors.NoCredentialsError, errors.PartialCredentialsError):
            failure = AwsFailure(
                "the AWS SDK finds no credentials; give the pod, task or machine a role "
                "(docs/secrets.md)"
            )
        except (errors.BotoCoreError, errors.HTTPClientError) as error:
            failure = AwsFailure(
                f"AWS Secrets Manager does not answer ({type(error).__name__}); check "
                "credentials.aws, the network and the endpoint"
            )
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
