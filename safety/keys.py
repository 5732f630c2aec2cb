"""Names of the keys in Redis. Keys of one tenant share a hash tag, so that one call finds them on one node."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


def _safe(text: str) -> str:
    """No brace of a name may move a key to another node, no colon may make two names one."""
    return quote(text, safe="/.-_@")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the keys of an execution are."""

    tenant: str
    cluster: str
    runbook: str


@dataclass(frozen=True, slots=True)
class Keys:
    """All keys under one prefix, such as ``rootmend:``."""

    prefix: str

    @property
    def primed(self) -> str:
        """Exists once the store was filled from the durable records."""
        return f"{self.prefix}primed"

    @property
    def pause(self) -> str:
        """Who paused automation and why; seen by the calls of every tenant."""
        return f"{self.prefix}pause"

    def place(self, execution_id: str) -> str:
        """Tenant, cluster and runbook of an execution."""
        return f"{self.prefix}place:{_safe(execution_id)}"

    def of_execution(self, execution_id: str, target_key: str, place: Place) -> list[str]:
        """Execution, target, running, five counts in the order of ``policy.windows``, place: as the scripts expect."""
        tag = f"{self.prefix}{{{_safe(place.tenant)}}}:"
        return [
            f"{tag}execution:{_safe(execution_id)}",
            f"{tag}target:{_safe(target_key)}",
            f"{tag}running:{_safe(place.runbook)}",
            f"{tag}rate:runbook:{_safe(place.runbook)}",
            f"{tag}rate:cluster:{_safe(place.cluster)}",
            f"{tag}rate:minute:{_safe(place.runbook)}",
            f"{tag}rate:day:{_safe(place.runbook)}",
            f"{tag}again:{_safe(place.runbook)}:{_safe(target_key)}",
            self.place(execution_id),
        ]

    def of_request(self, execution_id: str, target_key: str, place: Place) -> list[str]:
        """The keys of ``gate.lua``, in its order."""
        *scoped, where = self.of_execution(execution_id, target_key, place)
        return [self.primed, self.pause, where, *scoped]
