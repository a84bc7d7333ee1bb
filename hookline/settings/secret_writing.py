"""From settings to the writer of secrets that are given to us."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, get_args

from credentials.aws_clients import AwsClients
from credentials.aws_writer import AwsSecretsManagerWriter
from credentials.azure_clients import AzureClients
from credentials.azure_writer import AzureKeyVaultWriter
from credentials.resolver import Resolver
from credentials.sealed import SealedWriter
from credentials.secret import Secret
from credentials.vault_writer import VaultWriter
from credentials.writing import SecretWriter, WatchedWriter
from hookline.settings.credentials import CredentialSettings
from schemas.errors import ConfigurationError, SecretReferenceError

#: Where secrets can be written, by the scheme of their references.
WritableBackend = Literal["sealed", "vault", "aws-sm", "azure-kv"]
#: Of each, a prefix as an example.
EXAMPLES: Final[Mapping[WritableBackend, str]] = {
    "sealed": "",
    "vault": "secret/hookline/connect",
    "aws-sm": "hookline/connect",
    "azure-kv": "acme-vault/hookline",
}


def secret_writer(
    credentials: CredentialSettings,
    backend: str,
    prefix: str,
    *,
    resolver: Resolver,
    on_secret: Callable[[Secret], None],
) -> SecretWriter:
    """The writer of a backend; nothing is asked of it yet.

    `resolver` is this process's: it has what opens the backend, and sees each change at once.
    `on_secret` sees each secret before it is written. ConfigurationError, with what to write, if
    the backend is not set up or the prefix is not of its form; it may be empty for `sealed`.
    """
    try:
        writer = _writer(credentials, backend, prefix, resolver, on_secret)
    except SecretReferenceError as error:
        raise ConfigurationError(f"the prefix of secrets in {backend}: {error}") from None
    return WatchedWriter(writer, on_secret=on_secret, on_changed=resolver.expire)


def _writer(
    credentials: CredentialSettings,
    backend: str,
    prefix: str,
    resolver: Resolver,
    on_secret: Callable[[Secret], None],
) -> SecretWriter:
    match backend:
        case "sealed":
            if credentials.sealed is None:
                raise ConfigurationError(
                    "secrets are to be kept in the sealed file, and credentials.sealed is not set: "
                    "write its path, and its key, which `hookline secrets seal-key --to FILE` makes"
                )
            return SealedWriter(credentials.sealed.file(resolver.resolve, on_secret), prefix)
        case "vault":
            if credentials.vault is None:
                raise ConfigurationError(
                    "secrets are to be kept in Vault, and credentials.vault is not set: write its "
                    "address and how to log in (docs/secrets.md)"
                )
            return VaultWriter(credentials.vault.session(resolver.resolve), prefix)
        case "aws-sm":
            aws = credentials.aws
            clients = AwsClients(
                region=aws.region,
                endpoint_url=aws.endpoint_url,
                timeout_s=aws.timeout_ms / 1000,
            )
            return AwsSecretsManagerWriter(clients, prefix)
        case "azure-kv":
            azure = credentials.azure
            return AzureKeyVaultWriter(
                AzureClients(suffix=azure.suffix, timeout_s=azure.timeout_ms / 1000), prefix
            )
    raise ConfigurationError(
        f"secrets cannot be written to {backend!r}; write one of "
        + ", ".join(get_args(WritableBackend))
    )
