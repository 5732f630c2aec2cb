"""Secrets in Kubernetes, read through the API server. The account needs ``get`` on the Secrets that are named."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime

from executor.errors import Forbidden, Invalid, MissingSecret, NotConfigured
from executor.ports import Cluster, KubeObject
from services.secrets.model import Fetched
from services.secrets.moments import moment_of

NAME = "kubernetes-secrets"
EXPIRES = "rootmend.dev/expires-at"
"""Annotation with the time until which a Secret is good."""


class KubernetesSecrets:
    """Implements ``services.secrets.model.Provider``.

    Args:
        cluster: that holds the Secrets; not closed here.
    """

    name = NAME

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def close(self) -> None:
        """Nothing: the cluster belongs to others."""

    async def fetch(self, path: str) -> Fetched:
        """The Secret at ``NAMESPACE/NAME``; errors as the port says."""
        namespace, _, name = path.partition("/")
        try:
            item = await self._cluster.get("Secret", name, namespace)
        except Forbidden as error:
            raise NotConfigured(f"the account may not read the Secret {path}: it needs the verb get on it") from error
        except Invalid as error:
            raise NotConfigured(f"the API server cannot give the Secret {path}: {error}") from error
        if item is None:
            raise MissingSecret(f"there is no Secret {path} in the cluster")
        values = {key: _decoded(path, key, text) for key, text in (item.get("data") or {}).items()}
        return Fetched(values, str(item["metadata"].get("resourceVersion", "")), _expiry(item, values))


def _decoded(path: str, key: str, text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError as error:
        # The cause would quote the bytes.
        raise NotConfigured(f"{key} of the Secret {path} is no text ({type(error).__name__})") from None


def _expiry(item: KubeObject, values: Mapping[str, str]) -> datetime | None:
    """What the annotation says, or the end of the certificate in it."""
    named = moment_of((item["metadata"].get("annotations") or {}).get(EXPIRES))
    found = [moment for moment in (named, _certificate_end(values.get("tls.crt", ""))) if moment]
    return min(found, default=None)


def _certificate_end(pem: str) -> datetime | None:
    if "BEGIN CERTIFICATE" not in pem:
        return None
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415 - few Secrets hold one

    try:
        return load_pem_x509_certificate(pem.encode()).not_valid_after_utc.astimezone(UTC)
    except ValueError:
        return None
