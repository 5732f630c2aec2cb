"""The gate on Redis: policy first, then one atomic call for everything that needs memory.

Redis away means approval only: nothing runs by itself. The same holds for a store that was emptied, until it is
filled from the durable records again. See docs/gate.md.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import cast

from redis.asyncio import Redis

from safety import policy, replies, scripts
from safety.axes import Place, namespaces_of
from safety.calls import Call, Calls, Located, milliseconds, parted, since_1970
from safety.errors import GateUnavailable
from safety.keys import Keys
from safety.limits import place_of
from safety.model import Answer, ApprovalNeeded, GateRecord, GateRequest, Permit, Refusal
from safety.ports import Clock, GateHistory, PauseLog
from safety.redis_pauses import RedisPauses
from safety.redis_wire import RedisWire, as_text
from safety.scopes import EVERYTHING, Pause, PauseScope, Where
from safety.scripts import Scripts

_REMEMBERED = 10_000
_EMPTIED = "it was emptied and is not restored yet"


class RedisGate:
    """Implements ``safety.ports.Gate``.

    Args:
        redis: the client; its lifetime is the caller's. Either way of decoding answers is fine.
        settings: policy-wide limits.
        clock: wall clock, for tokens while Redis is away.
        prefix: put in front of every key.
        timeout_seconds: for one round trip; it is tried twice.
        history: where the durable records are. With it the gate fills an emptied store by itself, without it
            somebody has to call ``restore``.
        pauses: where the pause switch is durable; without it an emptied store has forgotten a pause.
        lua: the scripts.
        also: fill the rest of an emptied store; they raise GateUnavailable when it did not work.
    """

    def __init__(
        self,
        redis: Redis,
        settings: policy.PolicySettings,
        clock: Clock,
        *,
        prefix: str = "rootmend:",
        timeout_seconds: float = 0.5,
        history: GateHistory | None = None,
        pauses: PauseLog | None = None,
        lua: Scripts | None = None,
        also: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self._wire = RedisWire(redis, timeout_seconds)
        self._settings = settings
        self._clock = clock
        self._keys = Keys(prefix)
        self._calls = Calls(lua or scripts.load(), self._keys, settings)
        self._history = history
        self._also = also
        self._switch = RedisPauses(self._wire.plain, self._keys, clock, pauses)
        self._filling = asyncio.Lock()
        self._places: OrderedDict[str, Place] = OrderedDict()
        self._owed: dict[str, tuple[str, float, float]] = {}
        self._unbacked: OrderedDict[str, None] = OrderedDict()
        self._last_token = 0

    async def ask(self, requests: Sequence[GateRequest]) -> Sequence[Answer]:
        """Answer each request, in order; see ``safety.ports.Gate.ask``."""
        await self._pay()
        decided = [policy.decide(request, self._settings) for request in requests]
        open_ = [i for i, answer in enumerate(decided) if not isinstance(answer, Refusal)]
        answers: dict[int, Answer] = {i: answer for i, answer in enumerate(decided) if isinstance(answer, Refusal)}
        todo = [(requests[i], cast("ApprovalNeeded | None", decided[i])) for i in open_]
        answers.update(zip(open_, await self._ask_store(todo), strict=True))
        return [answers[i] for i in range(len(requests))]

    async def _ask_store(self, todo: Sequence[tuple[GateRequest, ApprovalNeeded | None]]) -> list[Answer]:
        """Ask the store, fill it first when it was emptied and the records are at hand."""
        for request, _ in todo:
            self._remember(request.execution_id, place_of(request))
        calls = [self._calls.gate(request, peek=needed is not None) for request, needed in todo]
        results = await self._wire.run(calls)
        if ["unprimed"] in results and self._history:
            try:
                await self._fill(self._history)
                results = await self._wire.run(calls)
            except GateUnavailable as error:
                results = [error] * len(calls)
        answers = [
            self._answer(request, needed, result) for (request, needed), result in zip(todo, results, strict=True)
        ]
        for answer, (request, _) in zip(answers, todo, strict=True):
            # Of an execution that was permitted before, with another plan, the store knows better where it is counted.
            if not isinstance(answer, Permit):
                self._places.pop(request.execution_id, None)
        return answers

    def _answer(self, request: GateRequest, needed: ApprovalNeeded | None, result: Sequence[str] | Exception) -> Answer:
        if isinstance(result, Exception):
            return self._away(request, needed, str(result) or type(result).__name__)
        try:
            answer = replies.answer(request, needed, result)
        except ValueError as error:
            return self._away(request, needed, str(error))
        if answer is None:
            return self._away(request, needed, _EMPTIED)
        self._unbacked.pop(request.execution_id, None)
        return answer

    def _away(self, request: GateRequest, needed: ApprovalNeeded | None, why: str) -> Answer:
        """Nothing runs by itself; what a human said yes to runs, with the claim in Neo4j as its only lock."""
        if request.approval is None or needed:
            return ApprovalNeeded((f"gate store away: {why}", *(needed.reasons if needed else ())))
        now = since_1970(self._clock.now())
        self._last_token = max(self._last_token + 1, now)
        expires = now + milliseconds(self._settings.permit_ttl_seconds)
        self._unbacked[request.execution_id] = None
        if len(self._unbacked) > _REMEMBERED:
            self._unbacked.popitem(last=False)
        return replies.permit(request, self._last_token, expires, request.approval.approval_id)

    async def confirm(self, permits: Sequence[tuple[str, str]]) -> Sequence[str]:
        """Confirm reservations; the ids whose reservation lapsed. See ``safety.ports.Gate.confirm``.

        A permit that was given while the store was away has no reservation that it could have lost.
        """
        calls: dict[str, Call] = {}
        lost: list[str] = []
        for execution_id, target_key in permits:
            if execution_id in self._unbacked:
                continue
            try:
                keys = await self._locate(execution_id, target_key)
            except GateUnavailable:
                return []
            if keys:
                calls[execution_id] = self._calls.confirm(execution_id, keys)
            else:
                lost.append(execution_id)
        results = await self._wire.run(list(calls.values()))
        return lost + [each for each, result in zip(calls, results, strict=True) if result == ["lost"]]

    async def cancel(self, execution_id: str, target_key: str) -> None:
        """Give back a reservation. With the store away it lapses by itself."""
        if keys := await self._find(execution_id, target_key):
            await self._wire.run([self._calls.cancel(execution_id, keys)])
            self._places.pop(execution_id, None)

    async def renew(self, execution_id: str, target_key: str, token: int) -> bool:
        """Extend the lock; False when somebody else holds the target. See ``safety.ports.Gate.renew``."""
        keys = await self._find(execution_id, target_key)
        if not keys:
            return True
        results = await self._wire.run([self._calls.renew(execution_id, keys, token)])
        return results[0] != ["lost"]

    async def release(self, execution_id: str, target_key: str, cooldown_seconds: float) -> None:
        """Free the target and start its cooldown.

        With the store away this is owed and done before the next question; until then the lease locks the target.
        """
        milliseconds(cooldown_seconds)
        self._owed[execution_id] = (target_key, cooldown_seconds, self._clock.monotonic())
        await self._pay()

    async def _pay(self) -> None:
        """Carry out the releases that are owed."""
        for execution_id, (target_key, cooldown, since) in list(self._owed.items()):
            try:
                keys = await self._locate(execution_id, target_key)
            except GateUnavailable:
                return
            if keys:
                left = max(0.0, cooldown - (self._clock.monotonic() - since))
                results = await self._wire.run([self._calls.release(execution_id, keys, left)])
                if isinstance(results[0], Exception):
                    return
            self._owed.pop(execution_id, None)

    async def pause(self, by: str, reason: str, scope: PauseScope = EVERYTHING, until: datetime | None = None) -> None:
        """Stop automation. Nothing can refuse it; it is in force even when recording it fails and this raises."""
        await self._switch.set(Pause(by, reason, scope, self._clock.now(), until))

    async def resume(self, by: str, scope: PauseScope = EVERYTHING) -> None:
        """Lift a pause; see ``safety.ports.Gate.resume``."""
        await self._switch.lift(by, scope)

    async def pauses(self) -> Sequence[Pause]:
        """Every pause that is in force. An emptied store has forgotten, so it is filled first."""
        await self.paused()
        return await self._switch.all()

    async def paused(self, where: Where | None = None) -> str | None:
        """Why automation is paused, or None. An emptied store has forgotten, so it cannot say None."""
        for attempt in range(2):
            (told,) = await self._wire.run([self._calls.paused(where)])
            if isinstance(told, Exception):
                raise GateUnavailable(f"the gate's store cannot say whether automation is paused: {told}") from told
            if told[0] == "paused":
                by, reason, scope = told[1:]
                return f"{scope} is paused by {by}: {reason}" if scope else f"paused by {by}: {reason}"
            if told[0] == "clear":
                return None
            if attempt == 0 and self._history:
                await self._fill(self._history)
        raise GateUnavailable(f"the gate's store cannot say whether automation is paused: {_EMPTIED}")

    async def _fill(self, history: GateHistory) -> None:
        """Restore an emptied store, by one of those who noticed. Raises GateUnavailable when it did not work."""
        async with self._filling:
            (primed,) = await self._wire.plain(["EXISTS", self._keys.primed])
            if primed:
                return
            try:
                records = await history.gate_records()
            except Exception as error:
                raise GateUnavailable(f"{_EMPTIED}: {error}") from error
            await self.restore(records)

    async def restore(self, records: Sequence[GateRecord]) -> None:
        """Fill the store from the durable records; see ``safety.ports.Gate.restore``."""
        results = await self._wire.run([self._calls.restore(record) for record in records])
        for result in results:
            if isinstance(result, Exception):
                raise GateUnavailable(f"the gate's store could not be restored: {result}") from result
        await self._switch.restore()
        for fill in self._also:
            await fill()
        # Last, so that nobody is permitted anything by a half-filled store.
        await self._wire.plain(["SET", self._keys.primed, self._clock.now().isoformat()])

    def _remember(self, execution_id: str, place: Place) -> None:
        self._places[execution_id] = place
        self._places.move_to_end(execution_id)
        if len(self._places) > _REMEMBERED:
            self._places.popitem(last=False)

    async def _locate(self, execution_id: str, target_key: str) -> Located | None:
        """The keys of an execution, or None for one that the store does not know."""
        place = self._places.get(execution_id)
        if place is None:
            key = self._keys.place(execution_id)
            (found,) = await self._wire.plain(["HMGET", key, "tenant", "cluster", "runbook", "namespaces"])
            if None in found[:3]:
                return None
            tenant, cluster, runbook = map(as_text, found[:3])
            written = parted(as_text(found[3] or ""))
            place = Place(tenant, cluster, runbook, namespaces_of(cluster, target_key, written))
            self._remember(execution_id, place)
        return self._calls.locate(execution_id, target_key, place)

    async def _find(self, execution_id: str, target_key: str) -> Located | None:
        """As ``_locate``, and None as well when the store is away."""
        try:
            return await self._locate(execution_id, target_key)
        except GateUnavailable:
            return None
