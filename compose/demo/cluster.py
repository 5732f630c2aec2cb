"""The practice cluster, as its administrator. Calls run in threads, so that scenarios can go on side by side."""

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import httpx
import yaml

from compose.practice.api import KubeApi, object_path
from compose.state import write_private

Json = dict[str, Any]
_VERSIONS = {
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "PodDisruptionBudget": "policy/v1",
}


class Cluster:
    """Reads and changes objects.

    Args:
        kubeconfig: of the administrator.
        folder: where the API server's certificate is put for the client.
    """

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        content = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        server = content["clusters"][0]["cluster"]
        authority = folder / "cluster-ca.crt"
        write_private(authority, base64.b64decode(server["certificate-authority-data"]).decode())
        self._api = KubeApi(server["server"], content["users"][0]["user"]["token"], authority, timeout=20)

    def __enter__(self) -> Self:
        self._api.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.__exit__(kind, error, trace)

    async def get(self, kind: str, name: str, namespace: str = "") -> Json | None:
        """An object, or None when it is not there."""
        try:
            found: Json = await asyncio.to_thread(self._api.get, _path(kind, name, namespace))
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return None
            raise
        return found

    async def existing(self, kind: str, name: str, namespace: str = "") -> Json:
        """An object that must be there."""
        found = await self.get(kind, name, namespace)
        if found is None:
            raise LookupError(f"{kind} {namespace}/{name} does not exist")
        return found

    async def find(self, kind: str, namespace: str = "", **query: str) -> list[Json]:
        """Objects of a kind; `query` goes to the API server (labelSelector, fieldSelector)."""
        path = _collection(kind, namespace) + (f"?{urlencode(query)}" if query else "")
        answer = await asyncio.to_thread(self._api.get, path)
        return [{"kind": kind, **item} for item in answer["items"]]

    async def apply(self, manifest: Mapping[str, Any]) -> Json:
        """Bring an object to the state of its manifest."""
        applied: Json = await asyncio.to_thread(self._api.apply, manifest)
        return applied

    async def patch(self, kind: str, name: str, body: Mapping[str, Any], namespace: str = "") -> None:
        """Merge a change into an object."""
        await asyncio.to_thread(self._api.patch, _path(kind, name, namespace), body)

    async def delete(self, kind: str, name: str, namespace: str = "", *, now: bool = False) -> None:
        """Remove an object. With `now` nobody is waited for: the kubelet of a dead node never answers."""
        path = _path(kind, name, namespace) + ("?gracePeriodSeconds=0" if now else "")
        await asyncio.to_thread(self._api.delete, path)

    async def history(self, kind: str, since: str, namespace: str = "") -> list[Json]:
        """Every change of the objects of a kind since a resource version, oldest first, as the API server tells it."""
        query = urlencode({"watch": "1", "resourceVersion": since, "timeoutSeconds": "1"})
        text = await asyncio.to_thread(self._api.text, f"{_collection(kind, namespace)}?{query}")
        return [json.loads(line) for line in text.splitlines() if line.strip()]

    async def version(self, kind: str, namespace: str = "") -> str:
        """The resource version of now, to ask for the history since."""
        answer = await asyncio.to_thread(self._api.get, _collection(kind, namespace))
        return str(answer["metadata"]["resourceVersion"])


def _path(kind: str, name: str, namespace: str) -> str:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return object_path({"apiVersion": _VERSIONS.get(kind, "v1"), "kind": kind, "metadata": metadata})


def _collection(kind: str, namespace: str) -> str:
    return _path(kind, "any", namespace).rpartition("/")[0]
