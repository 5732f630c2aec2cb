"""The API server as the executor and the matcher see it: plain objects in, plain objects out, any kind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import orjson
import stamina
from kubernetes.aio.client.exceptions import ApiException

from executor.errors import Expired, Invalid, NotFound, Unavailable
from executor.model import ObjectRef
from executor.ports import ExecResult, KubeObject, PatchKind
from services.kubernetes.discovery import discover
from services.kubernetes.failures import OWN_MANAGER, FieldsOwned, failure, pause_before_next
from services.kubernetes.kinds import KindIndex, Resource
from services.kubernetes.streams import PodStreams
from services.kubernetes.transport import Transport

_CONTENT_TYPES: Mapping[PatchKind, str] = {
    "strategic": "application/strategic-merge-patch+json",
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}
_PAGE = 500
_LISTINGS = 3
"""How often a list is begun; the server keeps a state for minutes, so that the second time does."""
_REDISCOVER_SECONDS = 30.0
_RETRY_SECONDS = 0.1
_OK, _MULTIPLE, _UNAUTHORIZED, _TOO_MANY = 200, 300, 401, 429

Renew = Callable[[], Awaitable[None]]
"""Gets fresh credentials."""


class KubernetesCluster:
    """One API server. Implements ``executor.ports.Cluster`` and ``matcher.ports.LiveObjects``.

    Reads are tried up to three times when the server does not answer; writes never, because only the caller knows
    whether repeating one is safe.

    Args:
        api: a ``kubernetes.aio`` ApiClient with credentials and connection pool; closed by ``close``.
        timeout_seconds: longest wait for one answer.
        renew: called once when the credentials are refused; they may have run out.
    """

    def __init__(self, api: Any, *, timeout_seconds: float = 10.0, renew: Renew | None = None) -> None:
        self._seconds = timeout_seconds
        self._transport = Transport(api, timeout_seconds)
        self._renew = renew
        self._for: tuple[tuple[str, str], ...] = ()
        self._kinds = KindIndex(())
        self._discovered_at = 0.0
        self._discovering = asyncio.Lock()
        self._streams = PodStreams(api, connect_seconds=timeout_seconds, renew=renew)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def resource(self, kind: str, api_version: str = "") -> Resource:
        """The resource that a word means (``deploy``, ``Deployment``, ``rollouts.argoproj.io``).

        Raises:
            Invalid: the server serves no such kind.
        """
        seen = self._discovered_at
        if (found := self._kinds.find(kind, api_version)) is not None:
            return found
        async with self._discovering:
            # A kind may be new, but a misspelt one must not cost a discovery each time.
            stale = time.monotonic() - self._discovered_at > _REDISCOVER_SECONDS
            if self._discovered_at == seen and (stale or not len(self._kinds)):
                self._kinds = await discover(self._read_json)
                self._discovered_at = time.monotonic()
        if (found := self._kinds.find(kind, api_version)) is not None:
            return found
        raise self._kinds.unknown(kind, api_version)

    async def get(self, kind: str, name: str, namespace: str = "") -> KubeObject | None:
        """One object, or None."""
        resource = await self.resource(kind)
        path = resource.path(namespace, name)
        try:
            return await self._read(path, f"get {resource.kind}/{name}")
        except NotFound:
            return None

    async def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[KubeObject]:
        """All objects of a kind, in all namespaces when none is given.

        A long list comes in pages. When the server has forgotten the state that they are of, it begins anew.
        """
        resource = await self.resource(kind)
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        query: dict[str, Any] = {key: value for key, value in selectors.items() if value} | {"limit": _PAGE}
        for _ in range(_LISTINGS - 1):
            with suppress(Expired):
                return await self._pages(resource, namespace, dict(query))
        return await self._pages(resource, namespace, query)

    async def _pages(self, resource: Resource, namespace: str, query: dict[str, Any]) -> Sequence[KubeObject]:
        items: list[KubeObject] = []
        while True:
            page = await self._read(resource.path(namespace), f"list {resource.plural}", query)
            # The server leaves these two out of listed objects.
            known = {"apiVersion": resource.api_version, "kind": resource.kind}
            items += ({**known, **item} for item in page.get("items") or ())
            following = page.get("metadata", {}).get("continue")
            if not following:
                return items
            query["continue"] = following

    async def patch(
        self,
        ref: ObjectRef,
        body: Any,
        *,
        how: PatchKind,
        subresource: str = "",
        dry_run: bool = False,
        force: bool = False,
        manager: str = "",
    ) -> KubeObject:
        """Patch; ``force`` takes over fields of other managers and means something for ``apply`` only."""
        path = await self._path(ref, subresource)
        query = {"fieldManager": manager or OWN_MANAGER} | _dry(dry_run)
        forced = query | {"force": "true"}
        headers = {"Content-Type": _CONTENT_TYPES[how]}
        try:
            return await self._send("PATCH", path, f"patch {ref}", forced if force else query, body, headers=headers)
        except FieldsOwned as owned:
            if not owned.only_by_us:
                raise
        return await self._send("PATCH", path, f"patch {ref}", forced, body, headers=headers)

    async def replace(self, ref: ObjectRef, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Replace the whole object; conditional on its ``resourceVersion``."""
        query = {"fieldManager": OWN_MANAGER} | _dry(dry_run)
        return await self._send("PUT", await self._path(ref), f"replace {ref}", query, body)

    async def create(self, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Create; Conflict when it exists."""
        kind, meta = str(body.get("kind", "")), body.get("metadata", {})
        resource = await self.resource(kind, str(body.get("apiVersion", "")))
        namespace = meta.get("namespace", "")
        if resource.namespaced and not namespace:
            raise Invalid(f"{kind} {meta.get('name', '')} needs a namespace")
        query = {"fieldManager": OWN_MANAGER} | _dry(dry_run)
        return await self._send("POST", resource.path(namespace), f"create {kind}/{meta.get('name', '')}", query, body)

    async def delete(self, ref: ObjectRef, *, grace_seconds: int | None = None, dry_run: bool = False) -> None:
        """Delete, with the uid as precondition when ``ref`` has one; dependents go in the background."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        options = body | _options(ref, grace_seconds, dry_run=dry_run)
        await self._send("DELETE", await self._path(ref), f"delete {ref}", {}, options)

    async def evict(self, ref: ObjectRef, *, grace_seconds: int | None = None, dry_run: bool = False) -> None:
        """Evict a pod, uid as precondition; Blocked when a budget forbids it now."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": ref.name, "namespace": ref.namespace},
            "deleteOptions": _options(ref, grace_seconds, dry_run=dry_run),
        }
        path = await self._path(ref, "eviction")
        await self._send("POST", path, f"evict {ref}", _dry(dry_run), body, eviction=True)

    async def allowed(self, verb: str, ref: ObjectRef, subresource: str = "") -> bool:
        """Whether we have the right, as the server itself answers."""
        resource = await self.resource(ref.kind, ref.api_version)
        asked = {"verb": verb, "group": resource.group, "resource": resource.plural, "subresource": subresource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**asked, "namespace": ref.namespace, "name": ref.name}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = await self._send("POST", path, f"ask for the right to {verb} {ref}", {}, review)
        return bool(answer.get("status", {}).get("allowed"))

    async def now(self) -> datetime | None:
        """The server's clock, in whole seconds; None when its answers do not say it."""
        said = await self._transport.date()
        return parsedate_to_datetime(said) if said else None

    async def review_token(self, token: str, audiences: Sequence[str]) -> Mapping[str, Any]:
        """What the server says of a bearer token: the ``status`` of a TokenReview."""
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": list(audiences)},
        }
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        answer = await self._send("POST", path, "ask whose a token is", {}, review)
        status = answer.get("status")
        return status if isinstance(status, dict) else {}

    async def exec(
        self, ref: ObjectRef, command: Sequence[str], *, container: str, timeout_seconds: float, limit: int
    ) -> ExecResult:
        """Run a program in a container; never repeated here."""
        path = await self._path(ref, "exec")
        return await self._streams.exec(
            path, command, container=container, timeout_seconds=timeout_seconds, limit=limit
        )

    async def logs(
        self,
        ref: ObjectRef,
        *,
        container: str,
        limit: int,
        tail: int | None = None,
        since_seconds: int | None = None,
        previous: bool = False,
    ) -> str:
        """What a container wrote."""
        given = {"container": container, "tailLines": tail, "sinceSeconds": since_seconds}
        query = {key: value for key, value in given.items() if value is not None}
        if previous:
            query["previous"] = "true"
        path = await self._path(ref, "log")
        return await self._streams.logs(path, query, limit=limit, timeout_seconds=self._seconds)

    async def _path(self, ref: ObjectRef, subresource: str = "") -> str:
        resource = await self.resource(ref.kind, ref.api_version)
        if not ref.name:
            # The path without a name is the whole collection.
            raise Invalid(f"no {resource.kind} is named")
        return resource.path(ref.namespace, ref.name, subresource)

    async def _read_json(self, path: str, accept: str) -> Mapping[str, Any]:
        return await self._read(path, f"read {path}", headers={"Accept": accept})

    async def _read(
        self, path: str, what: str, query: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        # What makes a second try possible costs a third of a read, so that the first one goes without.
        try:
            return await self._send("GET", path, what, query or {}, None, headers=headers)
        except Expired:
            raise  # it stays expired
        except Unavailable as error:
            first = error.after_seconds
        await asyncio.sleep(max(first, _RETRY_SECONDS))
        async for attempt in stamina.retry_context(on=_worth_it, attempts=2, timeout=None, wait_jitter=0.1):
            with attempt:
                return await self._send("GET", path, what, query or {}, None, headers=headers)
        raise AssertionError("the last attempt returns or raises")

    async def _send(
        self,
        method: str,
        path: str,
        what: str,
        query: Mapping[str, Any],
        body: Any,
        *,
        headers: Mapping[str, str] | None = None,
        eviction: bool = False,
    ) -> dict[str, Any]:
        target = f"{path}?{urlencode(query)}" if query else path
        request = method, target, what, headers or {}, body
        status, content, after = await self._transport.exchange(*request, more=self._for)
        if status == _UNAUTHORIZED and self._renew is not None:
            # Nothing was done, so this may be repeated, whatever it was.
            await self._renew()
            status, content, after = await self._transport.exchange(*request, more=self._for)
        if status == _TOO_MANY and not eviction and (seconds := pause_before_next(after)):
            # Turned away at the door, so nothing was done here either.
            await asyncio.sleep(seconds)
            status, content, after = await self._transport.exchange(*request, more=self._for)
        answer = _json(content)
        if not _OK <= status < _MULTIPLE:
            cause = ApiException(status=status, reason=str(answer.get("reason", "")))
            raise failure(status, answer, what, eviction=eviction, retry_after=after) from cause
        return answer


def _worth_it(error: Exception) -> bool | float:
    """Whether a read that failed is tried again; a number is the pause before it, in seconds."""
    if not isinstance(error, Unavailable) or isinstance(error, Expired):
        return False
    return max(error.after_seconds, 2 * _RETRY_SECONDS)


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _options(ref: ObjectRef, grace_seconds: int | None, *, dry_run: bool) -> dict[str, Any]:
    """Conditions of a deletion. The server ignores the query when there is a body, so the dry run is said in here."""
    options: dict[str, Any] = {"dryRun": ["All"]} if dry_run else {}
    if ref.uid:
        options["preconditions"] = {"uid": ref.uid}
    return options if grace_seconds is None else options | {"gracePeriodSeconds": grace_seconds}


def _json(content: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(content or b"{}")
    except orjson.JSONDecodeError:
        # Proxies answer in HTML.
        return {"message": content[:200].decode(errors="replace").strip()}
    return answer if isinstance(answer, dict) else {}
