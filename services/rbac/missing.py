"""Rights that a plan lacks, found before its first step: the API server is asked, and its answers are kept a minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from executor.actions.base import ActionTable
from executor.errors import RemediationError
from executor.model import Account, ObjectRef, Plan
from executor.rights import Asked, writes_of
from safety.model import Refusal
from services.pipeline.vetting import MISSING_RIGHT

_SWEEP = 10_000
"""So many kept answers are worth a look for those that are too old."""


class Reviewer(Protocol):
    """Answers what an account may do."""

    async def allowed(self, verb: str, ref: ObjectRef, subresource: str = "") -> bool:
        """Whether it may; an empty name stands for all objects of the kind."""
        ...


_Key = tuple[Account | None, str, str, str, str, str, str]


class MissingRights:
    """Asks about every write of a plan. Implements ``services.pipeline.vetting.MissingRight``.

    Args:
        actions: declare what they need.
        reviewer: the API server as an account sees it; None is the pipeline's own.
        seconds: how long an answer is good.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        actions: ActionTable,
        reviewer: Callable[[Account | None], Reviewer],
        *,
        seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._actions = actions
        self._reviewer = reviewer
        self._seconds = seconds
        self._clock = clock
        self._known: dict[_Key, tuple[float, asyncio.Future[str]]] = {}

    async def __call__(self, plan: Plan) -> Refusal | None:
        """The refusal of a plan that lacks a right. One that cannot be asked about is one that is missing."""
        wanted = [one for one in writes_of(plan, self._actions) if not self._was_allowed(plan.account, one)]
        if not wanted:
            return None
        answers = await asyncio.gather(*(self._why_not(plan.account, one) for one in wanted))
        for one, why in zip(wanted, answers, strict=True):
            if why:
                return _refusal(plan, one, why)
        return None

    def _was_allowed(self, account: Account | None, one: Asked) -> bool:
        """Whether an answer that is still good said yes to all objects of the kind; without waiting for anything."""
        known = self._known.get(_key(account, one, ""))
        if known is None or self._clock() - known[0] >= self._seconds:
            return False
        asked = known[1]
        return asked.done() and not asked.cancelled() and asked.exception() is None and not asked.result()

    async def _why_not(self, account: Account | None, one: Asked) -> str:
        """Empty where it is allowed for all objects of the kind, else for this very one."""
        if why := await self._answer(account, one, ""):
            return await self._answer(account, one, one.ref.name) if one.ref.name else why
        return ""

    async def _answer(self, account: Account | None, one: Asked, name: str) -> str:
        now, key = self._clock(), _key(account, one, name)
        known = self._known.get(key)
        if known is None or now - known[0] >= self._seconds:
            if len(self._known) >= _SWEEP:
                self._known = {k: v for k, v in self._known.items() if now - v[0] < self._seconds}
            known = now, asyncio.ensure_future(self._ask(account, one, name))
            self._known[key] = known
        # Who is cancelled while waiting must not take the answer from the others.
        why = await asyncio.shield(known[1])
        if why and self._known.get(key) == known:
            # A right that is granted now counts at the next alert, not in a minute.
            del self._known[key]
        return why

    async def _ask(self, account: Account | None, one: Asked, name: str) -> str:
        ref = one.ref.model_copy(update={"name": name, "uid": ""})
        try:
            allowed = await self._reviewer(account).allowed(one.verb, ref, one.subresource)
        except RemediationError as error:
            return f"that it may could not be asked: {error}"
        return "" if allowed else "the API server says no"


def _key(account: Account | None, one: Asked, name: str) -> _Key:
    return account, one.verb, one.ref.api_version, one.ref.kind, one.subresource, one.ref.namespace, name


def _refusal(plan: Plan, one: Asked, why: str) -> Refusal:
    resource = f"{one.ref.kind}/{one.subresource}" if one.subresource else one.ref.kind
    place = f"namespace {one.ref.namespace}" if one.ref.namespace else "the whole cluster"
    who = plan.account.user if plan.account else "the pipeline's account"
    what = f"{who} may not {one.verb} {resource} in {place}: {why}"
    numbers = {"verb": one.verb, "resource": resource, "namespace": one.ref.namespace, "account": who}
    return Refusal(MISSING_RIGHT, f"{what}; what it needs: rb rbac needed {plan.runbook_id}", numbers)
