"""Names of the keys in Redis. Keys of one tenant share a hash tag, so that one call finds them on one node.

An execution is counted in the buckets of ``safety.axes``: ``{tenant}:count:<axis>:<name>`` holds executions by the
moment in which they were permitted (for rates), ``{tenant}:flight:<axis>:<name>`` those that hold their targets by the
moment in which their locks end, with their blast radius (for limits on what runs at the same time). Scripts are given
the keys of an execution as: execution, target, place, counts, flights; ``gate.lua`` gets ``primed``, ``pause``, place,
execution and target first, and after the flights whatever else its checks look at.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from safety.axes import Place, buckets_of


@lru_cache(maxsize=4096)
def _safe(text: str) -> str:
    """No brace of a name may move a key to another node, no colon may make two names one."""
    return quote(text, safe="/.-_@")


@dataclass(frozen=True, slots=True)
class Keys:
    """All keys under one prefix, such as ``rootmend:``."""

    prefix: str

    @property
    def primed(self) -> str:
        """Exists once the store was filled from the durable records, with keys of this layout."""
        return f"{self.prefix}primed:3"

    @property
    def pause(self) -> str:
        """Who paused automation and why; seen by the calls of every tenant."""
        return f"{self.prefix}pause"

    @property
    def pauses(self) -> str:
        """The pauses of a part, by scope; seen by the calls of every tenant."""
        return f"{self.prefix}pauses"

    def storm(self, tenant: str) -> str:
        """What a storm has stopped for a tenant, by scope."""
        return f"{self.prefix}{{{_safe(tenant)}}}:storm"

    @property
    def storm_tenants(self) -> str:
        """The tenants for whom a storm has stopped something, or a last message about one is due."""
        return f"{self.prefix}storm-tenants"

    def storm_count(self, tenant: str, scope: str, counter: str) -> str:
        """Who was seen, for one count of one scope of the storm breaker."""
        return f"{self.storm(tenant)}:count:{_safe(scope)}:{_safe(counter)}"

    def storm_call(self, tenant: str) -> list[str]:
        """Whether people were told of a tenant's storm, and what was held back from them."""
        return [f"{self.storm(tenant)}:call", f"{self.storm(tenant)}:held"]

    def place(self, execution_id: str) -> str:
        """Tenant, cluster, runbook and namespaces of an execution."""
        return f"{self.prefix}place:{_safe(execution_id)}"

    def of_execution(self, execution_id: str, target_key: str, place: Place) -> list[str]:
        """Execution, target, place, a count for each bucket, a flight for each that is live: as the scripts expect."""
        tag = f"{self.prefix}{{{_safe(place.tenant)}}}:"
        found = buckets_of(place, target_key)
        names = [":".join([bucket.axis.name, *map(_safe, bucket.names)]) for bucket in found]
        return [
            f"{tag}execution:{_safe(execution_id)}",
            f"{tag}target:{_safe(target_key)}",
            self.place(execution_id),
            *(f"{tag}count:{name}" for name in names),
            *(f"{tag}flight:{name}" for name, bucket in zip(names, found, strict=True) if bucket.axis.live),
        ]

    def of_request(self, execution_id: str, target_key: str, place: Place) -> list[str]:
        """The keys of ``gate.lua``, in its order."""
        execution, target, where, *counted = self.of_execution(execution_id, target_key, place)
        more = [self.pauses, self.storm(place.tenant)]
        return [self.primed, self.pause, where, execution, target, *counted, *more]
