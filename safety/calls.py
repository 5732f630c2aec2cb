"""What is sent to the gate's store, as values: which script with which keys and arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from safety.keys import Keys, Place
from safety.model import GateRecord, GateRequest
from safety.policy import PolicySettings, concurrent, counts, windows
from safety.scripts import Script, Scripts


class Call(NamedTuple):
    """One call of a script."""

    script: Script
    keys: Sequence[str]
    args: Sequence[str | int]


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


def place_of(request: GateRequest | GateRecord) -> Place:
    """Where the keys of an execution are."""
    return Place(request.tenant, request.cluster, request.runbook_id)


@dataclass(frozen=True, slots=True)
class Calls:
    """Writes the calls. ``at`` are the keys of an execution, from ``Keys.of_execution``."""

    lua: Scripts
    keys: Keys
    settings: PolicySettings

    @property
    def _windows(self) -> list[str | int]:
        return [milliseconds(seconds) for seconds in windows(self.settings)]

    @property
    def _lease(self) -> int:
        return milliseconds(self.settings.lock_lease_seconds)

    def gate(self, request: GateRequest, *, peek: bool) -> Call:
        """Ask for an execution; ``peek`` reserves nothing."""
        args: list[str | int] = ["peek" if peek else "reserve", request.execution_id]
        args += [request.tenant, request.cluster, request.runbook_id, request.plan_hash]
        args += [request.approval.approval_id if request.approval else ""]
        args += [milliseconds(self.settings.provisional_ttl_seconds), milliseconds(self.settings.permit_ttl_seconds)]
        args += [concurrent(request)]
        for count in counts(request, self.settings):
            window, within = milliseconds(count.window_seconds), milliseconds(count.within_seconds)
            args += [count.check, count.limit, window, within]
        keys = self.keys.of_request(request.execution_id, request.target_key, place_of(request))
        return Call(self.lua.gate, keys, args)

    def confirm(self, execution_id: str, at: Sequence[str]) -> Call:
        """Confirm a reservation."""
        return Call(self.lua.confirm, at[:-1], [execution_id, self._lease, *self._windows])

    def renew(self, execution_id: str, at: Sequence[str], token: int) -> Call:
        """Extend a lock."""
        return Call(self.lua.renew, at, [execution_id, token, self._lease, *self._windows])

    def release(self, execution_id: str, at: Sequence[str], cooldown_seconds: float) -> Call:
        """Free a target, start its cooldown."""
        return Call(self.lua.release, at[:-1], [execution_id, milliseconds(cooldown_seconds), *self._windows])

    def cancel(self, execution_id: str, at: Sequence[str]) -> Call:
        """Give back a reservation."""
        return Call(self.lua.cancel, at, [execution_id])

    def restore(self, record: GateRecord) -> Call:
        """Write what a durable record says."""
        args: list[str | int] = [record.execution_id, record.tenant, record.cluster, record.runbook_id]
        args += [record.plan_hash, record.approval_id, record.token]
        args += [since_1970(record.granted_at), since_1970(record.expires_at), int(record.holds_target)]
        args += [since_1970(record.cooldown_until), self._lease, *self._windows]
        keys = self.keys.of_execution(record.execution_id, record.target_key, place_of(record))
        return Call(self.lua.restore, keys, args)
