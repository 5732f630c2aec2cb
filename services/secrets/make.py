"""Puts the secrets together, as the settings and the file of names say. Nothing connects before a step asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from executor.ports import Clock, Cluster
from services.config_files import ConfigError
from services.secrets.local import SecretProvider
from services.secrets.model import Provider
from services.secrets.naming import Rotation, SecretsFile, VaultPart, read_secrets_file
from services.secrets.store import SecretStore

if TYPE_CHECKING:
    from services.secrets.vault import Login
    from services.settings_secrets import SecretSources, VaultSettings


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets of one process.

    Attributes:
        rotation: how often they are looked at; None for never.
    """

    store: SecretStore
    rotation: Rotation | None


def make_secrets(
    settings: SecretSources,
    environment: Mapping[str, str],
    clock: Clock,
    on_read: Callable[[str], None],
    cluster: Cluster | None = None,
) -> Secrets:
    """The store with the providers that are named.

    Args:
        settings: checked already.
        environment: the process's variables.
        clock: for what is kept in memory.
        on_read: told each secret, so that it is masked everywhere.
        cluster: for Kubernetes Secrets; None where there is none.

    Raises:
        ConfigError: the file cannot be used, or lacks what the settings do not give either.
        NotConfigured: an extra is not installed.
    """
    local = SecretProvider(environment, prefix=settings.env_prefix, folder=settings.folder, on_read=on_read)
    ttl = settings.ttl.total_seconds()
    if settings.file is None:
        return Secrets(SecretStore(local, {}, {}, clock, ttl_seconds=ttl, on_read=on_read), None)
    named = checked_file(settings, settings.file)
    providers = dict(_providers(settings, named, clock, on_read, cluster))
    store = SecretStore(local, named.places, providers, clock, ttl_seconds=ttl, on_read=on_read)
    return Secrets(store, named.rotation if named.rotation.enabled else None)


def checked_file(settings: SecretSources, path: Path) -> SecretsFile:
    """The file of names, together with the settings.

    Raises:
        ConfigError: with every problem.
    """
    named = read_secrets_file(path)
    problems = tuple(f"{path}: {problem}" for problem in _lacking(settings, named))
    if problems:
        raise ConfigError(problems)
    return named


def _used(named: SecretsFile) -> set[str]:
    return {place.provider for place in named.places.values()}


def _lacking(settings: SecretSources, named: SecretsFile) -> Iterator[str]:
    used = _used(named)
    if "vault" in used:
        yield from _lacking_for_vault(settings.vault, named.secrets.vault)
    if "aws-secrets-manager" in used and not settings.aws.region:
        yield "aws-secrets-manager needs secrets.aws.region in the settings"


def _lacking_for_vault(vault: VaultSettings, part: VaultPart) -> Iterator[str]:
    if not (vault.address or part.address):
        yield "vault needs an address: secrets.vault.address, here or in the settings"
    method = vault.auth_method or part.auth_method
    if method is None:
        yield "vault needs secrets.vault.authMethod: kubernetes or approle"
    if method == "kubernetes" and not (vault.role or part.role):
        yield "the login kubernetes needs secrets.vault.role"
    if method == "approle" and not (vault.role_id and (vault.secret_id or vault.secret_id_file)):
        yield "the login approle needs secrets.vault.role_id and secret_id (or secret_id_file) in the settings"
    if vault.ca_file is not None and not vault.ca_file.is_file():
        yield f"secrets.vault.ca_file: there is no file {vault.ca_file}"


def _providers(
    settings: SecretSources,
    named: SecretsFile,
    clock: Clock,
    on_read: Callable[[str], None],
    cluster: Cluster | None,
) -> Iterator[tuple[str, Provider]]:
    """Only those that a name needs; each is imported then."""
    used = _used(named)
    if "vault" in used:
        from services.secrets.vault import VaultAddress, VaultSecrets  # noqa: PLC0415 - few installations have one

        vault, part = settings.vault, named.secrets.vault
        address = VaultAddress(vault.address or part.address, vault.namespace, vault.ca_file, vault.timeout_seconds)
        yield "vault", VaultSecrets(address, _login(vault, part), clock, on_read)
    if "aws-secrets-manager" in used:
        from services.secrets.aws import AwsSecrets  # noqa: PLC0415 - as above

        aws = settings.aws
        yield (
            "aws-secrets-manager",
            AwsSecrets(aws.region, endpoint=aws.endpoint, timeout_seconds=aws.timeout_seconds),
        )
    if "kubernetes-secrets" in used:
        if cluster is None:
            raise ConfigError(("kubernetes-secrets need a cluster, and none is connected",))
        from services.secrets.kubernetes import KubernetesSecrets  # noqa: PLC0415 - as above

        yield "kubernetes-secrets", KubernetesSecrets(cluster)


def _login(vault: VaultSettings, part: VaultPart) -> Login:
    from services.secrets.vault import approle_login, kubernetes_login  # noqa: PLC0415 - as above

    if (vault.auth_method or part.auth_method) == "kubernetes":
        return kubernetes_login(vault.role or part.role, vault.token_file, vault.mount or "kubernetes")
    secret = vault.secret_id_file or (vault.secret_id.get_secret_value() if vault.secret_id else "")
    return approle_login(vault.role_id, secret, vault.mount or "approle")
