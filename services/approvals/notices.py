"""Carries out what the timers of questions say: escalations, reminders, announcements, and links for whose turn it is.

Everything is found in the graph, again and again; of several processes one tells, once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from executor.errors import NotConfigured, Permanent
from executor.ports import Clock
from safety.approvals import Approval
from safety.links import Link, sign
from safety.notices import Notice, NoticeKind, due
from services.access.identities import Directory
from services.approvals.facts import Question, Redact, question_of
from services.approvals.ports import Notices, Told
from services.approvals.telling import LINK_WAYS, Ways, way_of
from services.approvals.voters import Voters
from services.ports import DecisionLedger
from services.settings_approvals import Links

log = structlog.get_logger(__name__)

_LEASE_SECONDS = 60.0
"""Longer than any way to people takes; after it another process may tell."""
_AWAY_SECONDS, _REFUSED_SECONDS = 5.0, 300.0
_MOST_KNOWN = 10_000

Work = Callable[[Question], Awaitable[tuple[str, ...]]]
"""Tells people; gives whom."""


@dataclass(frozen=True, slots=True)
class _Errand:
    key: str
    kind: str
    way: str
    work: Work


class NoticeDesk:
    """Tells people.

    Args:
        notices: what was told.
        voters: whose turn it is.
        ways: to people.
        directory: their addresses.
        links: settings of signed links.
        holder: name of this process in claims.
        remind_every: pause between reminders; None for none.
    """

    def __init__(
        self,
        *,
        notices: Notices,
        voters: Voters,
        ledger: DecisionLedger,
        ways: Ways,
        directory: Directory,
        links: Links,
        clock: Clock,
        holder: str,
        redact: Redact,
        remind_every: timedelta | None = None,
    ) -> None:
        self._notices = notices
        self._voters = voters
        self._ledger = ledger
        self._ways = ways
        self._directory = directory
        self._links = links
        self._clock = clock
        self._holder = holder
        self._redact = redact
        self._remind_every = remind_every
        self._not_before: dict[str, float] = {}

    async def sweep(self) -> None:
        """Tell whatever is due and was not told."""
        now = self._clock.now()
        for approval, done in await self._notices.open(now):
            try:
                await self._look_after(approval, done, now)
            except Exception as error:  # noqa: BLE001 - whatever it was, the other questions must not wait for it
                log.warning("notice.not_looked_after", approval_id=approval.id, error=self._redact(str(error)))

    async def _look_after(self, approval: Approval, done: frozenset[str], now: datetime) -> None:
        errands = [each for each in self._announcements(approval, now) if self._ready(each.key, done)]
        question: Question | None = None
        linked = bool(self._links.base_url) and not approval.answered_by
        if not errands and not linked:
            return
        question = await self._question(approval)
        if question is None:
            return
        if linked:
            errands += [one for one in await self._letters(question, now) if self._ready(one.key, done)]
        for errand in errands:
            await self._once(errand, question)

    def _ready(self, key: str, done: frozenset[str]) -> bool:
        return key not in done and self._clock.monotonic() >= self._not_before.get(key, 0.0)

    def _announcements(self, approval: Approval, now: datetime) -> Iterator[_Errand]:
        for notice in due(approval, now, self._remind_every):
            for target in self._ways.targets(notice):
                yield _Errand(
                    f"{notice.key}|{target}", notice.kind.value, way_of(target), self._telling(notice, target)
                )

    def _telling(self, notice: Notice, target: str) -> Work:
        async def work(question: Question) -> tuple[str, ...]:
            people = await self._meant(notice, question)
            await self._ways.tell(notice, target, question, people, self._directory)
            return people

        return work

    async def _meant(self, notice: Notice, question: Question) -> tuple[str, ...]:
        now = self._clock.now()
        if notice.kind is NoticeKind.ESCALATION:
            return await self._voters.people([("", name) for name in notice.names], question.scope, now)
        if notice.kind is NoticeKind.BYPASS:
            return ()
        return await self._voters.asked(question.approval, question.scope, now)

    async def _letters(self, question: Question, now: datetime) -> list[_Errand]:
        """Links for those whose turn it is; of a sequence nobody gets one before the one ahead has said yes."""
        approval = question.approval
        people = await self._voters.asked(approval, question.scope, now)
        if not approval.wanted:
            spent = {*approval.barred, *(yes.by for yes in approval.yeses)}
            people = tuple(who for who in self._links.to if who in self._directory.ids and who not in spent)
        return [
            _Errand(f"{approval.id}|link|{way}|{who}", "link", way, self._sending(way, who))
            for who in people
            for way in LINK_WAYS
            if self._address(way, who)
        ]

    def _address(self, way: str, who: str) -> str:
        return self._links.teams.get(who, "") if way == "teams" else self._directory.email_of(who)

    def _sending(self, way: str, who: str) -> Work:
        async def work(question: Question) -> tuple[str, ...]:
            url = self._url(question.approval, way, who)
            await self._ways.send_link(way, self._address(way, who), question, who, url)
            return (who,)

        return work

    def _url(self, approval: Approval, way: str, who: str) -> str:
        """The same each time it is made, so that a mail that is sent twice has one link that is used once."""
        ends = min(approval.expires_at, approval.requested_at + self._links.ttl)
        number = f"{approval.id}|{way}|{who}"
        link = Link(number, approval.id, approval.plan_hash, who, int(ends.timestamp()))
        key = self._links.keys[self._links.key].get_secret_value()
        return f"{self._links.base_url.rstrip('/')}/approvals/links/{sign(link, self._links.key, key)}"

    async def _once(self, errand: _Errand, question: Question) -> None:
        approval, outcome = question.approval, "sent"
        if not await self._notices.take(errand.key, approval, self._holder, _LEASE_SECONDS):
            return
        people: tuple[str, ...] = ()
        try:
            people = await errand.work(question)
        except NotConfigured as error:
            outcome = "skipped"
            log.warning("notice.skipped", key=errand.key, why=self._redact(str(error)))
        except Exception as error:  # noqa: BLE001 - whatever it was, it is tried again and the others are told
            await self._later(errand, error)
            return
        told = Told(errand.kind, errand.way, people, outcome)
        await self._notices.done(errand.key, approval, self._holder, told, self._clock.now())
        log.info("notice.told", key=errand.key, kind=errand.kind, way=errand.way, outcome=outcome)

    async def _later(self, errand: _Errand, error: Exception) -> None:
        seconds = _REFUSED_SECONDS if isinstance(error, Permanent) else _AWAY_SECONDS
        if len(self._not_before) >= _MOST_KNOWN:
            self._not_before.clear()
        self._not_before[errand.key] = self._clock.monotonic() + seconds
        log.warning("notice.failed", key=errand.key, why=self._redact(str(error)), again_in_seconds=seconds)
        await self._notices.free(errand.key, self._holder)

    async def _question(self, approval: Approval) -> Question | None:
        for story in await self._ledger.find(approval.execution_id, 1):
            for told in story.executions:
                if told.record.id == approval.execution_id:
                    return question_of(approval, told.record, story.decision, self._redact)
        return None
