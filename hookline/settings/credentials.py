"""Where secrets come from, as settings (`credentials`), and the resolver that is made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from msgspec.structs import replace
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from credentials.aws_clients import AwsClients, region_of
from credentials.aws_secrets_manager import AwsSecretsManagerBackend
from credentials.azure_clients import AzureClients
from credentials.azure_key_vault import AzureKeyVaultBackend
from credentials.cache import CachedBackend, CachePolicy
from credentials.environment import EnvironmentBackend
from credentials.file import FileBackend
from credentials.reference import Reference, parse_reference
from credentials.resolver import Resolver, SecretBackend
from credentials.seal_key import split_seal_keys
from credentials.sealed import SealedBackend
from credentials.sealed_file import SealedFile
from credentials.secret import Secret
from credentials.vault import VaultBackend
from credentials.vault_login import (
    SERVICE_ACCOUNT_TOKEN,
    AppRoleLogin,
    KubernetesLogin,
    TokenLogin,
    VaultLogin,
)
from credentials.vault_session import VaultSession
from schemas.errors import SecretError

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_MOUNT: Final = r"^[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*$"


def _check_local(ref: str) -> str:
    try:
        scheme = parse_reference(ref).scheme
    except SecretError as error:
        raise ValueError(str(error)) from None
    if scheme not in ("env", "file"):
        raise ValueError(
            "what opens a secret backend cannot be in one: write env:NAME or file:/path"
        )
    return ref


LocalReference = Annotated[str, AfterValidator(_check_local)]


def _bare(parts: SplitResult) -> bool:
    """Whether there is no place in it where a secret is often written."""
    return not (parts.username or parts.password or parts.query or parts.fragment)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class CacheSettings(_Model):
    """How long a value from Vault, AWS or Azure counts, and what happens while that is away."""

    ttl_ms: int = Field(300_000, ge=1_000, le=86_400_000, description="Then it is fetched anew.")
    refresh_ahead_ms: int = Field(
        60_000, ge=0, description="From so long before on, in the background."
    )
    keep_ms: int = Field(
        3_600_000,
        ge=0,
        le=604_800_000,
        description="How old the last good value may become while the backend does not answer. "
        "One that is deleted or denied there counts no longer at once.",
    )
    retry_ms: int = Field(
        5_000, ge=100, le=600_000, description="Between two tries while it does not answer."
    )
    max_entries: int = Field(10_000, ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _agrees(self) -> CacheSettings:
        if self.refresh_ahead_ms >= self.ttl_ms:
            raise ValueError(
                f"refresh_ahead_ms ({self.refresh_ahead_ms}) is not below ttl_ms ({self.ttl_ms}): "
                "every use would ask the backend"
            )
        return self

    def policy(self) -> CachePolicy:
        """As the cache takes it."""
        return CachePolicy(
            ttl_s=self.ttl_ms / 1000,
            refresh_ahead_s=self.refresh_ahead_ms / 1000,
            keep_s=self.keep_ms / 1000,
            retry_s=self.retry_ms / 1000,
            max_entries=self.max_entries,
        )


class AppRoleSettings(_Model):
    """Log in to Vault by AppRole."""

    role_id: str = Field(min_length=1, max_length=512)
    secret_id: LocalReference = Field(description="As a reference: env: or file:.")
    mount: str = Field("approle", pattern=_MOUNT, description="Where the method is enabled.")


class KubernetesSettings(_Model):
    """Log in to Vault as the pod's service account."""

    role: str = Field(min_length=1, max_length=512)
    token_file: str = Field(SERVICE_ACCOUNT_TOKEN, pattern=r"^/.+")
    mount: str = Field("kubernetes", pattern=_MOUNT, description="Where the method is enabled.")


class VaultSettings(_Model):
    """HashiCorp Vault, for `vault:mount/path#key`. One of token, approle and kubernetes."""

    address: str = Field(description="Such as https://vault.example:8200.")
    allow_http: bool = Field(
        False, description="Let secrets pass unencrypted to an address that is not this machine."
    )
    namespace: str | None = Field(None, pattern=_MOUNT, description="Of Vault Enterprise or HCP.")
    ca_file: str | None = Field(None, pattern=r"^/.+", description="The CA to trust, as PEM.")
    mounts: list[Annotated[str, Field(pattern=_MOUNT)]] = Field(
        [], max_length=64, description="KV engines whose name holds a slash, such as teams/acme."
    )
    timeout_ms: int = Field(5_000, ge=100, le=60_000, description="Of one request.")
    token: LocalReference | None = Field(
        None, description="As a reference: env: or file:; read again when Vault refuses it."
    )
    approle: AppRoleSettings | None = None
    kubernetes: KubernetesSettings | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> VaultSettings:
        given = [way for way in (self.token, self.approle, self.kubernetes) if way is not None]
        if len(given) != 1:
            raise ValueError(
                f"write exactly one of token, approle and kubernetes; there are {len(given)}"
            )
        try:
            parts = urlsplit(self.address)
            host = parts.hostname
        except ValueError:
            parts, host = None, None
        if parts is None or parts.scheme not in ("http", "https") or not host or not _bare(parts):
            raise ValueError("address: write a URL such as https://vault.example:8200")
        if parts.scheme == "http" and host not in _LOOPBACK and not self.allow_http:
            raise ValueError(
                "address: secrets would pass the network unencrypted; write https:// (or "
                "allow_http: true where a service mesh encrypts)"
            )
        return self

    def session(self, resolve: Callable[[str], Secret]) -> VaultSession:
        """A session; `resolve` reads its own references."""
        return VaultSession(
            address=self.address.rstrip("/"),
            login=self._login(resolve),
            namespace=self.namespace,
            ca_file=self.ca_file,
            mounts=self.mounts,
            timeout_s=self.timeout_ms / 1000,
        )

    def _login(self, resolve: Callable[[str], Secret]) -> VaultLogin:
        if self.approle is not None:
            secret_id = self.approle.secret_id
            return AppRoleLogin(
                self.approle.role_id, lambda: resolve(secret_id), mount=self.approle.mount
            )
        if self.kubernetes is not None:
            pod = self.kubernetes
            return KubernetesLogin(pod.role, token_file=pod.token_file, mount=pod.mount)
        token = self.token or ""
        return TokenLogin(lambda: resolve(token))


class AwsSettings(_Model):
    """AWS Secrets Manager, for `aws-sm:name#key`; credentials are the AWS SDK's own chain."""

    region: str | None = Field(
        None, pattern=r"^[a-z0-9-]{1,32}$", description="If the SDK's own is not it."
    )
    endpoint_url: str | None = Field(
        None, pattern=r"^https?://\S+$", description="Of a VPC endpoint with a name of its own."
    )
    timeout_ms: int = Field(5_000, ge=100, le=60_000, description="Of one request.")

    @field_validator("endpoint_url")
    @classmethod
    def _holds_no_secret(cls, url: str | None) -> str | None:
        try:
            bare = url is None or _bare(urlsplit(url))
        except ValueError:
            # Which may quote it.
            bare = False
        if not bare:
            raise ValueError("write it without user, password and query: https://host")
        return url


class AzureSettings(_Model):
    """Azure Key Vault, for `azure-kv:vault/name`; credentials are DefaultAzureCredential's."""

    suffix: str = Field(
        "vault.azure.net",
        pattern=r"^[A-Za-z0-9.-]+(?::\d{1,5})?$",
        description="What follows a vault's name in its address; another in sovereign clouds.",
    )
    timeout_ms: int = Field(5_000, ge=100, le=60_000, description="Of one request.")


class SealedSettings(_Model):
    """A file on this machine, encrypted, for `sealed:tenant/connection/field`."""

    path: str = Field(
        pattern=r"^/.+[^/]$",
        description="Absolute; on a local disk, for all processes that use it. Made with the first "
        "secret.",
    )
    key: LocalReference = Field(
        description="As a reference: env: or file:, to a key of `hookline secrets seal-key`, or "
        "several: the first writes, all read."
    )

    def file(
        self, resolve: Callable[[str], Secret], on_resolved: Callable[[Secret], None]
    ) -> SealedFile:
        """The file; `resolve` reads its keys, each of which `on_resolved` sees by itself too."""

        def keys() -> Secret:
            text = resolve(self.key)
            for key in split_seal_keys(text):
                on_resolved(key)
            return text

        return SealedFile(Path(self.path), keys)


class CredentialSettings(_Model):
    """Where secrets come from; docs/secrets.md says how each is set up."""

    refresh_interval_ms: int = Field(
        30_000,
        ge=1_000,
        le=86_400_000,
        description="How often the gateway looks whether a connection's secrets have changed.",
    )
    cache: CacheSettings = CacheSettings()
    vault: VaultSettings | None = None
    aws: AwsSettings = AwsSettings()
    azure: AzureSettings = AzureSettings()
    sealed: SealedSettings | None = None

    def resolver(
        self, environ: Mapping[str, str], on_resolved: Callable[[Secret], None]
    ) -> Resolver:
        """Resolves every scheme that is set up; `on_resolved` sees each value first."""
        local: list[SecretBackend] = [EnvironmentBackend(environ), FileBackend()]
        policy = self.cache.policy()
        remote: list[SecretBackend] = [
            CachedBackend(
                AwsSecretsManagerBackend(
                    AwsClients(
                        region=self.aws.region,
                        endpoint_url=self.aws.endpoint_url,
                        timeout_s=self.aws.timeout_ms / 1000,
                    )
                ),
                policy,
                place_of=_region,
            ),
            CachedBackend(
                AzureKeyVaultBackend(
                    AzureClients(suffix=self.azure.suffix, timeout_s=self.azure.timeout_ms / 1000)
                ),
                policy,
                place_of=_key_vault,
            ),
        ]
        own = Resolver(local, on_resolved)
        if self.sealed is not None:
            file = self.sealed.file(own.resolve, on_resolved)
            # Nothing is remembered but for the case that the file cannot be read.
            bridge = replace(policy, ttl_s=0.0, refresh_ahead_s=0.0)
            remote.append(CachedBackend(SealedBackend(file), bridge))
        if self.vault is not None:
            remote.append(CachedBackend(VaultBackend(self.vault.session(own.resolve)), policy))
        return Resolver([*local, *remote], on_resolved)


def _region(reference: Reference) -> str:
    return f"aws-sm {region_of(reference) or 'default region'}"


def _key_vault(reference: Reference) -> str:
    return f"azure-kv {reference.locator.partition('/')[0]}"
