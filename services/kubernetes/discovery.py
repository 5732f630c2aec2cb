"""What an API server serves: read once, in two requests where the server can, else group by group."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

from executor.errors import RemediationError
from services.kubernetes.kinds import KindIndex, Resource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"

Read = Callable[[str, str], Awaitable[Mapping[str, Any]]]
"""Gets JSON: path, Accept header."""


async def discover(read: Read) -> KindIndex:
    """Read what the server serves.

    A group whose own server is away (metrics, for example) is left out: it must not hide the others.
    """
    core, groups = await asyncio.gather(read("/api", AGGREGATED), read("/apis", AGGREGATED))
    if core.get("kind") == groups.get("kind") == "APIGroupDiscoveryList":
        return KindIndex([*_aggregated(core), *_aggregated(groups)])
    names = [(item["name"], item["preferredVersion"]["version"]) for item in groups.get("groups") or ()]
    paths = [("", "v1", "/api/v1"), *((group, version, f"/apis/{group}/{version}") for group, version in names)]
    lists = await asyncio.gather(*(read(path, "application/json") for _, _, path in paths), return_exceptions=True)
    found: list[Resource] = []
    for (group, version, _), listed in zip(paths, lists, strict=True):
        if isinstance(listed, RemediationError):
            continue
        if isinstance(listed, BaseException):
            raise listed
        found += _listed(listed.get("resources") or (), group, version)
    return KindIndex(found)


def _aggregated(listed: Mapping[str, Any]) -> Iterator[Resource]:
    for group in listed.get("items") or ():
        for version in group.get("versions") or ():
            for resource in version.get("resources") or ():
                yield Resource(
                    kind=resource["responseKind"]["kind"],
                    plural=resource["resource"],
                    group=group.get("metadata", {}).get("name", ""),
                    version=version["version"],
                    namespaced=resource.get("scope") == "Namespaced",
                    singular=resource.get("singularResource", ""),
                    short_names=tuple(resource.get("shortNames") or ()),
                )


def _listed(resources: Iterable[Mapping[str, Any]], group: str, version: str) -> Iterator[Resource]:
    for resource in resources:
        if "/" not in resource["name"]:
            yield Resource(
                kind=resource["kind"],
                plural=resource["name"],
                group=resource.get("group") or group,
                version=resource.get("version") or version,
                namespaced=bool(resource.get("namespaced")),
                singular=resource.get("singularName", ""),
                short_names=tuple(resource.get("shortNames") or ()),
            )
