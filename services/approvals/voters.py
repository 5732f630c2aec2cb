"""Which hats people wear: users, roles, groups, teams and on-call schedules, looked up where each is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime

from safety.access import Access, Actor, Scope
from safety.approvals import Approval
from safety.oncall import Schedule, on_call
from safety.quorum import ANYBODY, StandIn, Voter, due_escalations, wanted
from services.access.identities import BadIdentity, Directory
from services.approvals.delegations import Delegations

KINDS = ("role", "group", "team")

OnCall = Callable[[datetime], Awaitable[dict[str, tuple[str, ...]]]]
"""Ids of who is on call at a moment, by the name of the schedule."""


def from_file(schedules: Sequence[Schedule]) -> OnCall:
    """The schedules of a file."""

    async def look(at: datetime) -> dict[str, tuple[str, ...]]:
        return {one.name: on_call(one, at) for one in schedules}

    return look


def together(*sources: OnCall) -> OnCall:
    """Several sources; who is on call by any of them is."""

    async def look(at: datetime) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for source in sources:
            for name, people in (await source(at)).items():
                found[name] = tuple(dict.fromkeys((*found.get(name, ()), *people)))
        return found

    return look


class Voters:
    """Looks people up.

    Args:
        access: roles and assignments.
        directory: the people of the settings, with their groups.
        on_call: schedules; None where there are none.
        delegations: whose answers are in whose hands.
    """

    def __init__(self, access: Access, directory: Directory, on_call: OnCall | None, delegations: Delegations) -> None:
        self._access = access
        self._directory = directory
        self._on_call = on_call
        self._delegations = delegations

    @property
    def known(self) -> bool:
        """Whether anybody keeps a list of who is what; else each role, group and team is anybody."""
        return self._access.configured or self._on_call is not None

    async def voter(self, actor: Actor, scope: Scope, at: datetime) -> Voter:
        """What somebody counts as, for a plan.

        Args:
            actor: whose identity was proven.
            scope: what the plan acts on: roles count where they reach it.
            at: the moment, for schedules and delegations.

        Raises:
            Temporary: a source of schedules, or the graph, is away. Nobody counts as what nobody can look up.
        """
        handed = [one.by for one in await self._delegations.in_force(at) if one.to == actor.person]
        calls = await self._calls(at)
        stands = tuple(StandIn(who, self._hats(self._user(who), scope, calls)) for who in dict.fromkeys(handed))
        return Voter(self._hats(actor, scope, calls), stands)

    async def people(self, names: Iterable[tuple[str, str]], scope: Scope, at: datetime) -> tuple[str, ...]:
        """Ids of the people of the settings who are one of these, and of those who stand in for them.

        Args:
            names: kind and name, such as ``("role", "sre")``; an empty kind stands for any.
            scope: what the plan acts on.
            at: the moment.
        """
        sought, calls = tuple(names), await self._calls(at)
        found = [who for who in self._directory.ids if self._is(who, sought, self._hats(self._user(who), scope, calls))]
        stand_ins = [one.to for one in await self._delegations.in_force(at) if one.by in found]
        return tuple(dict.fromkeys((*found, *(who for who in stand_ins if who in self._directory.ids))))

    async def asked(self, approval: Approval, scope: Scope, at: datetime) -> tuple[str, ...]:
        """Ids of the people whose turn it is: of the entries that lack somebody, and of escalations that are due."""
        names = [(each.type, each.value.strip()) for each in approval.wanted]
        waiting = (rule for rule in approval.rules if wanted(rule, approval.yeses, approval.requested_at))
        steps = (one for rule in waiting for one in due_escalations(rule, approval.requested_at, at))
        names += [("", name) for one in steps for name in one.notify]
        people = await self.people(names, scope, at) if names else ()
        spent = {name.casefold() for yes in approval.yeses for name in (yes.by, *yes.stands_for)}
        spent |= {name.casefold() for name in approval.barred}
        return tuple(who for who in people if who.casefold() not in spent)

    @staticmethod
    def _is(who: str, sought: Sequence[tuple[str, str]], hats: Sequence[str]) -> bool:
        for kind, name in sought:
            if kind in {"", "user"} and who == name:
                return True
            kinds = KINDS if not kind else (kind,)
            if any(f"{each}:{name}" in hats for each in kinds):
                return True
        return False

    async def _calls(self, at: datetime) -> dict[str, tuple[str, ...]]:
        return await self._on_call(at) if self._on_call else {}

    def _user(self, person: str) -> Actor | None:
        try:
            return self._directory.user(person)
        except BadIdentity:
            return None

    def _hats(self, actor: Actor | None, scope: Scope, calls: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
        if actor is None or actor.claimed:
            return ()
        if not self.known:
            return (ANYBODY,)
        roles = [f"role:{role}" for role, limits, _ in self._access.roles_of(actor) if limits.covers(scope)]
        groups = [f"{kind}:{group}" for group in sorted(actor.groups) for kind in ("group", "team")]
        duty = [f"{kind}:{name}" for name, people in calls.items() if actor.person in people for kind in KINDS]
        return tuple(dict.fromkeys((*roles, *groups, *duty)))
