"""The storm breaker on Redis: each count and each look is one atomic call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redis.asyncio import Redis

from safety import scripts
from safety.breaker import BreakerSettings, Change, Counter, Seen, Stopped, StormCall, counters_of, packed, unpacked
from safety.calls import Call, milliseconds
from safety.errors import GateUnavailable
from safety.keys import Keys
from safety.ports import Clock, StormLog
from safety.redis_wire import RedisWire, as_text
from safety.scopes import StormScope, Where, storm_scopes
from safety.scripts import Scripts

_CALL_SECONDS = 60.0
"""For so long nobody else tells people what one process has begun to tell them."""
_HELD_SECONDS = 7 * 24 * 3600


class RedisBreaker:
    """Implements ``safety.ports.Breaker``.

    Args:
        redis: the client; its lifetime is the caller's.
        settings: what is counted, with its limits.
        clock: wall clock, for records.
        prefix: put in front of every key.
        timeout_seconds: for one round trip; it is tried twice.
        log: where it is durable; without it an emptied store has forgotten what was stopped.
        lua: the scripts.
    """

    def __init__(
        self,
        redis: Redis,
        settings: BreakerSettings,
        clock: Clock,
        *,
        prefix: str = "rootmend:",
        timeout_seconds: float = 0.5,
        log: StormLog | None = None,
        lua: Scripts | None = None,
    ) -> None:
        self._wire = RedisWire(redis, timeout_seconds)
        self._settings = settings
        self._clock = clock
        self._keys = Keys(prefix)
        self._lua = lua or scripts.load()
        self._log = log
        self._noted: set[tuple[StormScope, int]] = set()
        self._owed: list[Change] = []

    async def heard(self, seen: Sequence[Seen]) -> Sequence[Change]:
        """Count; see ``safety.ports.Breaker.heard``."""
        counters = counters_of(seen, self._settings)
        replies = await self._run([self._heard(counter, members) for counter, members in counters.items()])
        changes = [
            Change(unpacked(counter.scope, reply[1]), True, self._clock.now())
            for counter, reply in zip(counters, replies, strict=True)
            if reply[0] == "opened"
        ]
        await self._note(changes)
        return changes

    def _heard(self, counter: Counter, members: Sequence[str]) -> Call:
        scope, limit = counter.scope, self._settings.limits[counter.scope.axis, counter.counted]
        keys = [
            self._keys.storm_count(scope.tenant, scope.key, counter.key),
            self._keys.storm(scope.tenant),
            self._keys.storm_tenants,
        ]
        limits = [limit.upper, limit.lower, milliseconds(limit.window_seconds)]
        facts = [scope.tenant, scope.key, str(counter.counted), counter.of]
        return Call(self._lua.storm_heard, keys, [*facts, *limits, *members])

    async def look(self) -> Sequence[Change]:
        """Look, and close; see ``safety.ports.Breaker.look``."""
        open_ = await self.stopped()
        # What another process opened, and died before it was recorded, is recorded here.
        await self._note([Change(one, True, self._clock.now()) for one in open_])
        replies = await self._run([self._looked(one, "look") for one in open_])
        changes = [
            Change(unpacked(one.scope, reply[1]), False, self._clock.now())
            for one, reply in zip(open_, replies, strict=True)
            if reply[0] == "closed"
        ]
        await self._note(changes)
        return changes

    def _looked(self, one: Stopped, how: str) -> Call:
        tenant, scope = one.scope.tenant, one.scope.key
        counts = [self._keys.storm_count(tenant, scope, key) for key in one.hot]
        quiet = milliseconds(self._settings.quiet_seconds)
        return Call(self._lua.storm_looked, [self._keys.storm(tenant), *counts], [scope, how, quiet, *one.hot])

    async def stopped(self) -> Sequence[Stopped]:
        """What is open; see ``safety.ports.Breaker.stopped``."""
        tenants = await self._tenants()
        if not tenants:
            return ()
        found = await self._wire.plain(*(["HGETALL", self._keys.storm(tenant)] for tenant in tenants))
        return [
            unpacked(StormScope.of(tenant, key), text)
            for tenant, listed in zip(tenants, found, strict=True)
            for key, text in sorted(_texts(listed).items())
        ]

    async def close(self, scope: StormScope, by: str, reason: str) -> Change | None:
        """A person closes a scope; recorded first, so that it is never closed in one place only."""
        for _ in range(5):
            one = next((each for each in await self.stopped() if each.scope == scope), None)
            if one is None:
                return None
            change = Change(one, False, self._clock.now(), by, reason)
            if self._log:
                await self._record(self._log, change)
            (reply,) = await self._run([self._looked(one, "close")])
            if reply[0] == "closed":
                return change
        raise GateUnavailable(f"{scope} could not be closed: its counts change all the time; try again")

    async def stops(self, where: Where) -> bool:
        """Whether a storm has stopped an execution there."""
        scopes = [scope.key for scope in storm_scopes(where)]
        (found,) = await self._wire.plain(["HMGET", self._keys.storm(where.tenant), *scopes])
        return any(each is not None for each in found)

    async def hold_back(self, tenant: str, kinds: Mapping[str, int]) -> None:
        """Count what nobody is told of one by one."""
        held = self._keys.storm_call(tenant)[1]
        commands = [["HINCRBY", held, kind, str(count)] for kind, count in kinds.items()]
        await self._wire.plain(*commands, ["EXPIRE", held, str(_HELD_SECONDS)])

    async def due(self) -> Sequence[StormCall]:
        """What people are to be told now; see ``safety.ports.Breaker.due``."""
        tenants = await self._tenants()
        replies = await self._run([self._call(tenant, "due") for tenant in tenants])
        calls = []
        for tenant, reply in zip(tenants, replies, strict=True):
            if reply[0] in ("begin", "end"):
                held = {kind: int(count) for kind, count in zip(reply[2::2], reply[3::2], strict=True)}
                calls.append(StormCall(tenant, reply[0] == "begin", int(reply[1]), held))
        return calls

    async def told(self, call: StormCall, *, reached: bool) -> None:
        """People were told, or could not be reached."""
        await self._run([self._call(call.tenant, "told" if reached else "failed")])
        if reached and call.opens and self._log:
            try:
                await self._log.told(call.tenant, call.since)
            except Exception as error:
                raise GateUnavailable(f"it could not be recorded that people were told: {error}") from error

    def _call(self, tenant: str, what: str) -> Call:
        keys = [self._keys.storm(tenant), self._keys.storm_tenants, *self._keys.storm_call(tenant)]
        return Call(self._lua.storm_call, keys, [tenant, what, milliseconds(_CALL_SECONDS)])

    async def restore(self) -> None:
        """Write what the log says is open, after the store was emptied. Its counts begin anew."""
        if self._log is None:
            return
        try:
            in_force = await self._log.in_force()
        except Exception as error:
            raise GateUnavailable(f"nobody can say what a storm has stopped: {error}") from error
        commands: list[list[str]] = []
        for one, told in in_force:
            tenant = one.scope.tenant
            commands.append(["HSETNX", self._keys.storm(tenant), one.scope.key, packed(one)])
            commands.append(["SADD", self._keys.storm_tenants, tenant])
            if told:
                call = self._keys.storm_call(tenant)[0]
                commands.append(["HSET", call, "told", "1", "since", str(one.since)])
        if commands:
            await self._wire.plain(*commands)

    async def _tenants(self) -> list[str]:
        (found,) = await self._wire.plain(["SMEMBERS", self._keys.storm_tenants])
        return sorted(map(as_text, found))

    async def _run(self, calls: Sequence[Call]) -> list[Sequence[str]]:
        replies = []
        for reply in await self._wire.run(calls):
            if isinstance(reply, Exception):
                raise GateUnavailable(f"the storm breaker's store refused: {reply}") from reply
            replies.append(reply)
        return replies

    async def _note(self, changes: Sequence[Change]) -> None:
        """Record what changed. What cannot be recorded now is tried again with the next look."""
        if self._log is None:
            return
        fresh = [one for one in changes if not (one.open and (one.stopped.scope, one.stopped.since) in self._noted)]
        self._owed += fresh
        while self._owed:
            try:
                await self._record(self._log, self._owed[0])
            except GateUnavailable:
                return
            del self._owed[0]

    async def _record(self, log: StormLog, change: Change) -> None:
        try:
            await log.note(change)
        except Exception as error:
            raise GateUnavailable(f"the storm breaker could not be recorded: {error}") from error
        known = (change.stopped.scope, change.stopped.since)
        if change.open:
            self._noted.add(known)
        else:
            self._noted.discard(known)


def _texts(listed: object) -> dict[str, str]:
    """A hash as texts, as either way of reading answers gives it."""
    if isinstance(listed, dict):
        return {as_text(key): as_text(value) for key, value in listed.items()}
    return {}
