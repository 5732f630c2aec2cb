"""As much of a Kubernetes client as bringing up the practice cluster needs."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

_PLURALS = {"MutatingAdmissionPolicy": "mutatingadmissionpolicies"}
"""Where adding an s is not enough."""
_CLUSTER_WIDE = frozenset(
    {
        "Namespace",
        "Node",
        "ClusterRole",
        "ClusterRoleBinding",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
    }
)
FIELD_MANAGER = "rootmend-compose"


class KubeApi:
    """Talks to one API server as one account."""

    def __init__(self, server: str, token: str, authority: Path, *, timeout: float = 10) -> None:
        self._client = httpx.Client(
            base_url=server,
            headers={"Authorization": f"Bearer {token}"},
            verify=ssl.create_default_context(cafile=str(authority)),
            timeout=timeout,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str) -> Any:
        """Read an object or a list."""
        return self._client.get(path).raise_for_status().json()

    def text(self, path: str) -> str:
        """Read a plain answer, such as /readyz."""
        return self._client.get(path).raise_for_status().text

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Create something."""
        return self._client.post(path, json=body).raise_for_status().json()

    def patch(self, path: str, body: Any) -> Any:
        """Merge a change into an object."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return self._client.patch(path, json=body, headers=headers).raise_for_status().json()

    def delete(self, path: str) -> None:
        """Remove an object; one that is not there is fine."""
        answer = self._client.delete(path)
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()

    def apply(self, manifest: Mapping[str, Any]) -> Any:
        """Bring an object to the state of the manifest (server-side apply)."""
        answer = self._client.patch(
            object_path(manifest),
            json=manifest,
            params={"fieldManager": FIELD_MANAGER, "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        return answer.raise_for_status().json()


def object_path(manifest: Mapping[str, Any]) -> str:
    """The path of an object: the plural is what the kinds of this package need."""
    version, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = _PLURALS.get(kind, f"{kind.lower()}s")
    if kind in _CLUSTER_WIDE:
        return f"{root}/{plural}/{metadata['name']}"
    return f"{root}/namespaces/{metadata.get('namespace', 'default')}/{plural}/{metadata['name']}"
