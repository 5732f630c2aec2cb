"""What is sent to the gate's store, as values: which script with which keys and arguments."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

from safety.axes import Axis, Place, buckets_of, concurrent_check
from safety.keys import Keys
from safety.limits import Bounds, Count, bounds, place_of
from safety.model import GateRecord, GateRequest
from safety.policy import PolicySettings, where_of
from safety.scopes import Where, storm_scopes
from safety.scripts import Script, Scripts


class Call(NamedTuple):
    """One call of a script."""

    script: Script
    keys: Sequence[str]
    args: Sequence[str | int]


class Located(NamedTuple):
    """The keys of an execution, from ``Keys.of_execution``, and how many counts are among them."""

    keys: Sequence[str]
    counts: int


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, rounded up so that nothing ends early.

    Raises:
        ValueError: negative, infinite or not a number.
    """
    if not seconds >= 0 or math.isinf(seconds):
        raise ValueError(f"{seconds} is not a length of time")
    return math.ceil(seconds * 1000)


def since_1970(moment: datetime | None) -> int:
    """Milliseconds since 1970; 0 for none."""
    return int(moment.timestamp() * 1000) if moment else 0


def joined(namespaces: Sequence[str]) -> str:
    """Namespaces as one text."""
    return ",".join(quote(namespace, safe="") for namespace in namespaces)


def parted(text: str) -> tuple[str, ...]:
    """The namespaces that ``joined`` made a text of."""
    return tuple(unquote(part) for part in text.split(",") if part)


def blast_of(record: GateRecord, settings: PolicySettings) -> int:
    """What a restored execution takes of the budget: where nobody recorded it, as much as any may."""
    return settings.max_blast_radius if record.blast is None else record.blast


_NO_LIMIT = -1


def _limits(found: Sequence[Bounds]) -> tuple[str, str]:
    """The limits of the buckets and their names, as ``gate.lua`` reads them: the names only when it says no."""
    return _limits_text(
        tuple((one.bucket.axis, one.bucket.facts, one.concurrent, one.blast, one.asks, one.rates) for one in found)
    )


_Limited = tuple[Axis, tuple[str, ...], int | None, int | None, Count | None, tuple[Count, ...]]
"""Axis and facts of a bucket, then its limits, as in ``Bounds``."""


@lru_cache(maxsize=1024)
def _limits_text(found: tuple[_Limited, ...]) -> tuple[str, str]:
    """Remembered, because runbooks and namespaces are few and questions are many."""
    limits, names = [], []
    for axis, facts, concurrent, blast, asks, rates in found:
        told = [milliseconds(axis.memory_seconds), int(axis.live), _or_none(concurrent), _or_none(blast)]
        told += [asks.limit, milliseconds(asks.within_seconds)] if asks else [_NO_LIMIT, 0]
        for rate in rates:
            told += [rate.limit, milliseconds(rate.within_seconds)]
        limits.append(told)
        names.append((axis.name, facts, concurrent_check(axis.name), [rate.check for rate in rates]))
    return json.dumps(limits), json.dumps(names)


def _or_none(limit: int | None) -> int:
    return _NO_LIMIT if limit is None else limit


def where_text(where: Where, *, storms: bool = False) -> str:
    """Where an execution acts, as the scripts read it. Without ``storms`` no storm stops it."""
    told: dict[str, object] = {"tenant": where.tenant, "cluster": where.cluster, "runbook": where.runbook}
    told |= {"target": where.target, "namespaces": list(where.namespaces)}
    return json.dumps(told | {"storm": [scope.key for scope in storm_scopes(where)] if storms else []})


@dataclass(frozen=True, slots=True)
class Calls:
    """Writes the calls."""

    lua: Scripts
    keys: Keys
    settings: PolicySettings

    @property
    def _lease(self) -> int:
        return milliseconds(self.settings.lock_lease_seconds)

    def gate(self, request: GateRequest, *, peek: bool) -> Call:
        """Ask for an execution; ``peek`` reserves nothing."""
        args: list[str | int] = ["peek" if peek else "reserve", request.execution_id]
        args += [request.tenant, request.cluster, request.runbook_id, request.plan_hash]
        args += [request.approval.approval_id if request.approval else ""]
        args += [milliseconds(self.settings.provisional_ttl_seconds), milliseconds(self.settings.permit_ttl_seconds)]
        place = place_of(request)
        args += [request.blast.count or 0, joined(place.namespaces), *_limits(bounds(request, self.settings))]
        args += [where_text(where_of(request), storms=self.settings.storm_breaker)]
        keys = self.keys.of_request(request.execution_id, request.target_key, place)
        return Call(self.lua.gate, keys, args)

    def paused(self, where: Where | None) -> Call:
        """Look at the pauses."""
        keys = [self.keys.primed, self.keys.pause, self.keys.pauses]
        return Call(self.lua.paused, keys, [where_text(where) if where else ""])

    def confirm(self, execution_id: str, at: Located) -> Call:
        """Confirm a reservation."""
        return Call(self.lua.confirm, at.keys, [execution_id, at.counts, self._lease])

    def renew(self, execution_id: str, at: Located, token: int) -> Call:
        """Extend a lock."""
        return Call(self.lua.renew, at.keys, [execution_id, at.counts, self._lease, token])

    def release(self, execution_id: str, at: Located, cooldown_seconds: float) -> Call:
        """Free a target, start its cooldown."""
        return Call(self.lua.release, at.keys, [execution_id, at.counts, milliseconds(cooldown_seconds)])

    def cancel(self, execution_id: str, at: Located) -> Call:
        """Give back a reservation."""
        return Call(self.lua.cancel, at.keys, [execution_id, at.counts])

    def locate(self, execution_id: str, target_key: str, place: Place) -> Located:
        """The keys of an execution."""
        keys = self.keys.of_execution(execution_id, target_key, place)
        return Located(keys, len(buckets_of(place, target_key)))

    def restore(self, record: GateRecord) -> Call:
        """Write what a durable record says."""
        place = place_of(record)
        at = self.locate(record.execution_id, record.target_key, place)
        args: list[str | int] = [record.execution_id, at.counts, self._lease]
        args += [record.tenant, record.cluster, record.runbook_id, joined(place.namespaces)]
        args += [record.plan_hash, record.approval_id, record.token]
        args += [since_1970(record.granted_at), since_1970(record.expires_at), int(record.holds_target)]
        args += [since_1970(record.cooldown_until), blast_of(record, self.settings)]
        args += [milliseconds(bucket.axis.memory_seconds) for bucket in buckets_of(place, record.target_key)]
        return Call(self.lua.restore, at.keys, args)
