"""Who keeps a surface true: asks once, shows what holds, tells the progress, and survives a surface that is away."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from fakes.memory_approvals import MemoryApprovalStore
from fakes.memory_places import MemoryPlaces
from fakes.world import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.errors import Permanent, Unavailable
from executor.model import (
    Access,
    Change,
    ExecutionRecord,
    ObjectRef,
    Outcome,
    Plan,
    PlannedStep,
    Status,
    StepRun,
    StepStatus,
    Verdict,
)
from safety.approvals import Verb, ask
from services.approvals.facts import question_of
from services.approvals.keeper import Keeper
from services.approvals.progress import progress_of
from services.approvals.surface import ComeBackLater, Spot
from services.records import ExecutionStory

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIELDS = [
    {"path": ["spec", "replicas"], "before": 2, "after": 4},
    {"path": ["metadata", "labels", "password"], "after": "hunter2"},
]


def record(number="e-1", runs=(), **facts):
    """An execution of a plan with one write."""
    ref = ObjectRef(kind="Deployment", name="app", namespace="shop")
    change = Change(ref=ref, verb="patch", summary="replicas: 2 -> 4", before={"fields": FIELDS}, undo="put back")
    step = PlannedStep(
        index=0, id="s", name="Scale", action="scale", access=Access.WRITE, idempotent=True, timeout_seconds=9,
        changes=(change,),
    )  # fmt: skip
    plan = Plan(
        runbook_id="fix",
        runbook_version="1",
        runbook_sha="x",
        target_key="c/shop/Deployment/app",
        steps=(step,),
        hash="h",
    )
    incident = {
        "id": "i-1",
        "tenant": "t",
        "cluster": "c",
        "reason": "OOM",
        "confidence": 0.9,
        "target": {"namespace": "shop"},
    }
    return ExecutionRecord(
        id=number, plan=plan, incident=incident, steps=tuple(runs), **{"status": Status.WAITING_APPROVAL, **facts}
    )


def run(index, status=StepStatus.SUCCEEDED, error=""):
    return StepRun(
        id=f"e-1/step/{index}", index=index, step_id=f"s{index}", name=f"step {index}", action="scale", status=status,
        started_at=NOW, finished_at=NOW, error=error,
    )  # fmt: skip


@dataclass
class Story:
    """As much of a story as the keeper looks at."""

    executions: tuple
    decision: object = None


class Ledger:
    def __init__(self):
        self.records = {}

    async def find(self, text, limit=10):
        found = self.records.get(text)
        return [Story((ExecutionStory(found),))] if found else []


@dataclass
class FakeSurface:
    """Keeps messages. What is in ``troubles`` is raised first."""

    name: str = "here"
    asked: list = field(default_factory=list)
    shown: dict = field(default_factory=dict)
    told: list = field(default_factory=list)
    ends: list = field(default_factory=list)
    troubles: list = field(default_factory=list)

    def trouble(self):
        if self.troubles and (error := self.troubles.pop(0)):
            raise error

    async def ask(self, question, root):
        self.trouble()
        await asyncio.sleep(0)
        self.asked.append((question.approval.id, root))
        return Spot("C", str(len(self.asked)), root.message if root else "")

    async def show(self, spot, question):
        self.trouble()
        self.shown[spot.message] = question.approval.status.value

    async def tell(self, spot, progress, known):
        self.trouble()
        self.told.append(progress)
        return known or f"p-{spot.message}"

    async def end(self, spot, progress):
        self.trouble()
        self.ends.append(progress.ending)


class Desk:
    """A keeper, or several, with everything that they look at."""

    def __init__(self):
        self.clock, self.approvals, self.ledger = FakeClock(), MemoryApprovalStore(), Ledger()
        self.places = MemoryPlaces(self.approvals, self.clock.monotonic)
        self.surface = FakeSurface()

    def keeper(self, holder="me"):
        return Keeper(self.surface, self.places, self.ledger, self.clock, holder=holder, redact=str)

    async def ask(self, number="e-1", step=""):
        self.ledger.records[number] = record(number)
        asked = ask(number, "i-1", "h", ("careful",), now=NOW, timeout=timedelta(minutes=30), step=step)
        return await self.approvals.request(asked)

    async def answer(self, approval, verb, now=NOW):
        await self.approvals.answer(approval.id, verb, by="ada", reason="why", now=now, plan_hash="h")

    def move(self, number="e-1", runs=(), *, ended=False, **facts):
        self.ledger.records[number] = record(number, runs, **facts)
        self.places.states[number] = (f"{facts}{len(runs)}", ended)


@pytest.fixture
def desk():
    return Desk()


async def test_a_question_is_asked_once_and_its_message_follows_the_answer(desk):
    """Asked, approved somewhere else, shown; nothing is written when nothing has changed."""
    approval, keeper = await desk.ask(), desk.keeper()
    for _ in range(3):
        await keeper.once()
    assert desk.surface.asked == [(approval.id, None)]
    await desk.answer(approval, Verb.APPROVE)
    await keeper.once()
    await keeper.once()
    assert desk.surface.shown == {"1": "approved"}


@pytest.mark.parametrize(
    ("verb", "status", "now"),
    [(Verb.DENY, "denied", NOW), (Verb.EXPIRE, "expired", NOW + timedelta(hours=1)), (Verb.OVERTAKE, "overtaken", NOW)],
)
async def test_however_a_question_ends_its_message_says_so_and_nothing_follows(desk, verb, status, now):
    """Denied, expired, overtaken: shown once, and then left alone."""
    approval, keeper = await desk.ask(), desk.keeper()
    await keeper.once()
    await desk.answer(approval, verb, now)
    await keeper.once()
    assert desk.surface.shown == {"1": status}
    assert await desk.places.standing("here", 10) == []
    assert desk.surface.told == []


async def test_a_surface_that_is_away_is_left_alone_for_a_while_and_then_asked(desk):
    """For as long as it said itself; the question is neither lost nor asked twice."""
    approval, keeper = await desk.ask(), desk.keeper()
    desk.surface.troubles = [ComeBackLater("slow down", 30), Unavailable("gone")]
    await keeper.once()
    await keeper.once()
    assert len(desk.surface.troubles) == 1
    await desk.clock.sleep(31)
    await keeper.once()
    assert desk.surface.troubles == []
    await desk.clock.sleep(6)
    await keeper.once()
    assert desk.surface.asked == [(approval.id, None)]


async def test_a_question_that_is_refused_does_not_keep_the_others_from_being_asked(desk):
    """One that a surface does not take is tried again later; the next one is asked at once."""
    first, second, keeper = await desk.ask("e-1"), await desk.ask("e-2"), desk.keeper()
    desk.surface.troubles = [Permanent("too odd")]
    await keeper.once()
    assert [number for number, _ in desk.surface.asked] == [max(first.id, second.id)]
    await desk.clock.sleep(301)
    await keeper.once()
    assert sorted(number for number, _ in desk.surface.asked) == sorted([first.id, second.id])


async def test_of_several_processes_one_asks(desk):
    """Ten keepers look at the same moment."""
    await desk.ask()
    await asyncio.gather(*(desk.keeper(f"p{number}").once() for number in range(10)))
    assert len(desk.surface.asked) == 1


async def test_a_process_that_takes_over_goes_on_with_the_messages_that_are_there(desk):
    """A restart asks nothing again, and brings the old message up to date."""
    approval = await desk.ask()
    await desk.keeper("old").once()
    await desk.answer(approval, Verb.APPROVE)
    await desk.keeper("new").once()
    assert (len(desk.surface.asked), desk.surface.shown) == (1, {"1": "approved"})


async def test_a_record_that_failed_is_made_up_for_without_asking_again(desk, monkeypatch):
    """The surface took the question, and the graph was away right then."""
    await desk.ask()
    keeper, asked = desk.keeper(), desk.places.asked

    async def away(*args):
        monkeypatch.setattr(desk.places, "asked", asked)
        raise Unavailable("the graph is away")

    monkeypatch.setattr(desk.places, "asked", away)
    await keeper.once()
    await desk.clock.sleep(10)
    await keeper.once()
    assert len(desk.surface.asked) == 1
    assert len(await desk.places.standing("here", 10)) == 1


async def test_the_thread_tells_how_it_goes_in_one_message_and_how_it_ended_in_another(desk):
    """However many steps there are, and whatever is rolled back."""
    approval, keeper = await desk.ask(), desk.keeper()
    await keeper.once()
    await desk.answer(approval, Verb.APPROVE)
    for count in range(1, 30):
        desk.move(runs=[run(index) for index in range(count)], status=Status.RUNNING)
        await keeper.once()
    runs = [run(index) for index in range(30)] + [run(30, StepStatus.FAILED, "no room")]
    desk.move(runs=runs, status=Status.ROLLING_BACK)
    await keeper.once()
    desk.move(
        runs=runs, ended=True, status=Status.DONE, outcome=Outcome.ROLLBACK, verdict=Verdict.NOT_FIXED, error="no room"
    )
    await keeper.once()
    await keeper.once()
    last = desk.surface.told[-1]
    assert len(last.lines) <= 16
    assert any("step 30 (scale): failed" in line and "no room" in line for line in last.lines)
    assert "succeeded" in last.folded
    assert desk.surface.ends == ["rollback, verdict not fixed: no room"]
    assert await desk.places.standing("here", 10) == []


async def test_a_later_question_of_an_incident_hangs_in_its_thread(desk):
    """One thread for each incident."""
    await desk.ask("e-1")
    keeper = desk.keeper()
    await keeper.once()
    await desk.ask("e-2")
    await keeper.once()
    assert desk.surface.asked[1][1] == Spot("C", "1")


async def test_a_question_about_a_step_lets_the_thread_tell_the_rest(desk):
    """Also of an execution that began without a question; a no to the step ends the question, not the story."""
    approval, keeper = await desk.ask(step="approval/s"), desk.keeper()
    desk.move(runs=[run(0)], status=Status.RUNNING)
    await keeper.once()
    await desk.answer(approval, Verb.DENY)
    await keeper.once()
    desk.move(runs=[run(0)], ended=True, status=Status.DONE, outcome=Outcome.ROLLBACK, verdict=None)
    await keeper.once()
    assert desk.surface.ends == ["rollback, verdict none"]
    assert await desk.places.standing("here", 10) == []


async def moved(desk, keepers, approval, move):
    """One event; a crash leaves the next keeper at work."""
    ended = {"status": Status.DONE, "outcome": Outcome.SUCCESS, "verdict": Verdict.VERIFIED}
    if move == "look":
        await keepers[-1].once()
    elif move == "answer":
        await desk.answer(approval, Verb.APPROVE)
    elif move == "crash":
        keepers.append(desk.keeper(f"p{len(keepers)}"))
    elif move == "away":
        desk.surface.troubles.append(Unavailable("gone"))
    elif move == "later":
        await desk.clock.sleep(61)
    else:
        desk.move(runs=[run(0)], **(ended | {"ended": True} if move == "end" else {"status": Status.RUNNING}))


@given(st.lists(st.sampled_from(["look", "answer", "crash", "away", "run", "end", "later"]), max_size=25))
@settings(deadline=None, max_examples=60)
def test_in_any_order_of_events_the_message_ends_up_true(moves):
    """Outages, crashes, takeovers and answers in any order: asked at most once, and in the end it shows what holds."""

    async def story():
        desk = Desk()
        approval, keepers = await desk.ask(), [desk.keeper()]
        for move in moves:
            await moved(desk, keepers, approval, move)
        for _ in range(len(desk.surface.troubles) + 3):
            await desk.clock.sleep(61)
            await keepers[-1].once()
        status = desk.approvals.approvals[approval.id].status.value
        assert len(desk.surface.asked) <= 1
        if desk.surface.asked:
            assert desk.surface.shown.get("1", "pending") == status
        else:
            assert status == "approved"
        assert len(desk.surface.ends) <= 1

    asyncio.run(story())


def test_a_question_has_the_facts_of_its_plan_without_its_secrets():
    """Difference, rollback and place come from the plan; what the masker knows is taken out."""
    approval = ask("e-1", "i-1", "h", ("careful",), now=NOW, timeout=timedelta(minutes=30))
    asked = question_of(approval, record(), None, lambda text: text.replace("hunter2", "***"))
    (write,) = asked.writes
    assert write.diff == ("- spec.replicas: 2", "+ spec.replicas: 4", "+ metadata.labels.password: ***")
    assert (write.about, write.undo) == ("Deployment/shop/app", "put back")
    assert asked.rollback == "each change is undone by its inverse, last first"
    assert (asked.scope.tenant, asked.scope.namespace, asked.scope.runbook) == ("t", "shop", "fix")


def test_progress_names_what_failed_however_long_ago():
    """Steps are folded, failures are not."""
    told = progress_of(record(runs=[run(0, StepStatus.FAILED, "bad")] + [run(index) for index in range(1, 40)]))
    assert told.lines[0].startswith("step 0 (scale): failed")
    assert told.folded == "31 succeeded"
