"""Keeps a surface true: asks what was not asked there yet, and shows what became of each question.

Everything is found in the graph, again and again, so that a surface that was away, a crash and a second process need no
special care. It runs beside the pipeline and never in its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from executor.errors import Permanent, Temporary
from executor.failpoints import Failpoint, reach
from executor.ports import Clock
from safety.approvals import Approval, ApprovalStatus
from services.approvals.facts import Question, Redact, question_of
from services.approvals.progress import progress_of
from services.approvals.surface import ComeBackLater, Places, Shown, Spot, Standing, Surface
from services.ports import DecisionLedger
from services.records import ExecutionStory, Story

log = structlog.get_logger(__name__)

_CLAIM_SECONDS = 60.0
"""Longer than any call to a surface: after it another process may take over."""
_BATCH = 20
"""Questions asked at a time, so that news of earlier ones is not kept waiting."""
_STANDING = 200
_AWAY_SECONDS = 5.0
_REFUSED_SECONDS = 300.0


def standing_of(approval: Approval) -> str:
    """The state that a message shows: it has to be written again when this changes."""
    return f"{approval.status.value}/{len(approval.yeses)}"


class Keeper:
    """Looks after one surface.

    Args:
        holder: name of this process in claims.
        redact: takes secrets out of what people read.
        seconds: pause between two looks.
    """

    def __init__(
        self,
        surface: Surface,
        places: Places,
        ledger: DecisionLedger,
        clock: Clock,
        *,
        holder: str,
        redact: Redact,
        seconds: float = 2.0,
    ) -> None:
        self._surface = surface
        self._places = places
        self._ledger = ledger
        self._clock = clock
        self._holder = holder
        self._redact = redact
        self._seconds = seconds
        self._not_before = 0.0
        self._refused: dict[str, float] = {}
        self._unsaved: dict[str, Spot] = {}
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look at once."""
        self._woken.set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self._woken.clear()
            try:
                await self.once()
            except Temporary as error:
                log.warning("surface.waits", surface=self._surface.name, why=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._woken.wait()

    async def once(self) -> None:
        """Do all that there is to do now.

        Raises:
            Temporary: the graph is away.
        """
        now = self._clock.monotonic()
        if now < self._not_before:
            return
        self._refused = {number: until for number, until in self._refused.items() if until > now}
        name = self._surface.name
        for approval in await self._places.unasked(name, _BATCH):
            await self._try(approval, self._ask)
        standing = await self._places.standing(name, _STANDING)
        for one in standing:
            if one.shown != standing_of(one.approval):
                await self._try(one.approval, self._showing(one))
        for one in self._to_tell(standing):
            await self._try(one.approval, self._telling(one))

    async def _try(self, approval: Approval, work: Callable[[Approval], Awaitable[None]]) -> None:
        """Do one thing; a surface that is away or refuses keeps nothing else waiting longer than it must."""
        now = self._clock.monotonic()
        if now < self._not_before or now < self._refused.get(approval.id, 0.0):
            return
        if not await self._places.claim(self._surface.name, approval, self._holder, _CLAIM_SECONDS):
            return
        try:
            await work(approval)
        except Temporary as error:
            seconds = error.seconds if isinstance(error, ComeBackLater) and error.seconds else _AWAY_SECONDS
            self._not_before = self._clock.monotonic() + seconds
            self._note(approval, "surface.away", error, seconds)
            await self._places.showed(self._surface.name, approval, self._holder, Shown())
        except Permanent as error:
            self._refused[approval.id] = self._clock.monotonic() + _REFUSED_SECONDS
            self._note(approval, "surface.refused", error, _REFUSED_SECONDS)
            await self._places.showed(self._surface.name, approval, self._holder, Shown())

    def _note(self, approval: Approval, event: str, error: Exception, seconds: float) -> None:
        why = self._redact(str(error))
        log.warning(event, surface=self._surface.name, approval_id=approval.id, why=why, again_in_seconds=seconds)

    async def _ask(self, approval: Approval) -> None:
        question = await self._question(approval)
        if question is None:
            return
        name = self._surface.name
        spot = self._unsaved.get(approval.id)
        if spot is None:
            spot = await self._surface.ask(question, await self._places.root(name, approval.incident_id))
            # When the graph is away right now, the question is not asked a second time for it.
            self._unsaved[approval.id] = spot
            reach(Failpoint.QUESTION_POSTED, approval.execution_id)
        await self._places.asked(name, approval, self._holder, spot, standing_of(approval))
        del self._unsaved[approval.id]
        log.info("surface.asked", surface=name, approval_id=approval.id, channel=spot.channel, message=spot.message)

    def _showing(self, one: Standing) -> Callable[[Approval], Awaitable[None]]:
        async def work(approval: Approval) -> None:
            question = await self._question(approval)
            if question is not None:
                await self._surface.show(one.spot, question)
            shown = Shown(standing_of(approval), over=_nothing_follows(one))
            await self._places.showed(self._surface.name, approval, self._holder, shown)

        return work

    def _to_tell(self, standing: Sequence[Standing]) -> list[Standing]:
        """Of each execution that goes on, or went on, the question whose message tells it."""
        chosen: dict[str, Standing] = {}
        for one in standing:
            if not _nothing_follows(one) and (one.approval.step or one.approval.status is ApprovalStatus.APPROVED):
                known = chosen.get(one.approval.execution_id)
                if known is None or (one.told and not known.told):
                    chosen[one.approval.execution_id] = one
        tellers = {id(one) for one in chosen.values()}
        followed = [one for one in standing if id(one) in tellers]
        # Another question of an execution that is done has nothing more to tell either.
        others = [one for one in standing if one.ended and id(one) not in tellers and not _open(one)]
        return [one for one in followed if one.state != one.told_state] + others

    def _telling(self, one: Standing) -> Callable[[Approval], Awaitable[None]]:
        async def work(approval: Approval) -> None:
            name, told = self._surface.name, one.told
            story = await self._told(approval)
            tells = approval.step or approval.status is ApprovalStatus.APPROVED
            if story is not None and tells and one.state != one.told_state:
                progress = progress_of(story.record)
                told = await self._surface.tell(one.spot, progress, one.told)
                if progress.ending:
                    await self._surface.end(one.spot, progress)
            shown = Shown(told=told, told_state=one.state, over=one.ended and not _open(one))
            await self._places.showed(name, approval, self._holder, shown)

        return work

    async def _question(self, approval: Approval) -> Question | None:
        found = await self._story(approval)
        if found is None:
            log.error("surface.orphaned", approval_id=approval.id, execution_id=approval.execution_id)
            return None
        story, told = found
        return question_of(approval, told.record, story.decision, self._redact)

    async def _told(self, approval: Approval) -> ExecutionStory | None:
        found = await self._story(approval)
        return found[1] if found else None

    async def _story(self, approval: Approval) -> tuple[Story, ExecutionStory] | None:
        for story in await self._ledger.find(approval.execution_id, 1):
            for told in story.executions:
                if told.record.id == approval.execution_id:
                    return story, told
        return None


def _open(one: Standing) -> bool:
    return one.approval.status is ApprovalStatus.PENDING


def _nothing_follows(one: Standing) -> bool:
    """Whether a question was answered so that no execution goes on because of it."""
    ends = one.approval.status in (ApprovalStatus.DENIED, ApprovalStatus.EXPIRED, ApprovalStatus.OVERTAKEN)
    return ends and (not one.approval.step or one.ended)
