"""Calling people in a storm: once, on every way that is set up, and never about each incident."""

from __future__ import annotations

import pytest
from fakes.actions import RecordingChat, RecordingHooks
from fakes.breaker_rigs import LIMITS
from fakes.people import FakeMailer, FakePager, FakeTeams

from executor.model import ExecutionRecord, Outcome, Plan, Status, Verdict
from executor.people_ports import People
from safety.breaker import Counted, Seen
from safety.memory_breaker import MemoryBreaker
from safety.memory_gate import HandClock, State
from safety.scopes import Axis, StormScope, Where
from services.pipeline.storms import StormWatch
from services.storms import StormCalls

EVIL = "OOM<!channel>Killed"


class Scene:
    """A breaker, everybody who can be told, and whoever tells them."""

    def __init__(self, ways=("slack", "teams", "pagerduty", "mail")) -> None:
        self.clock = HandClock()
        self.breaker = MemoryBreaker(LIMITS, self.clock, State())
        self.chat, self.hooks = RecordingChat(), RecordingHooks()
        self.teams, self.pager, self.mailer = FakeTeams(), FakePager(), FakeMailer()
        self.watch = StormWatch(self.breaker, self.hooks)
        self.calls = StormCalls(
            breaker=self.breaker,
            chat=self.chat,
            people=People(teams=self.teams, pager=self.pager, mailer=self.mailer),
            ways=ways,
            channel="#oncall",
            quiet_seconds=30,
            redact=lambda text: text.replace("hunter2", "***"),
            hooks=self.hooks,
        )

    async def storm(self, count=9, reason="OOMKilled") -> None:
        places = [Where("acme", "prod", "", f"prod/shop/Deployment/d{n}", ("shop",), reason) for n in range(count)]
        await self.breaker.heard([Seen(place, Counted.CAUSES, place.target_key) for place in places])

    async def calm(self) -> None:
        for _ in range(3):
            self.clock.advance(61)
            await self.calls.sweep()


def record(**changes) -> ExecutionRecord:
    plan = Plan(runbook_id="oom", runbook_version="1", runbook_sha="s", target_key="prod/shop/Deployment/d1", steps=())
    incident = {
        "tenant": "acme",
        "cluster": "prod",
        "cause_reason": "OOMKilled",
        "target": {"kind": "Deployment", "namespace": "shop", "name": "d1", "uid": "u"},
    }
    return ExecutionRecord(id="e1", plan=plan, incident=incident, status=Status.RUNNING).model_copy(update=changes)


async def test_people_are_called_once_when_a_storm_begins_and_once_when_it_is_over():
    """However many scopes it stops and however often somebody looks; the page of the beginning is resolved."""
    scene = Scene()
    await scene.storm()
    for _ in range(5):
        await scene.calls.sweep()
    await scene.breaker.hold_back("acme", {"refusals": 4213})
    await scene.calm()
    first, last = [text for _, text in scene.chat.posted]
    assert "automation is stopped for tenant acme" in first
    assert "reason OOMKilled in cluster prod: 9 targets with cause OOMKilled within 1m, 5 are allowed" in first
    assert "namespace shop in cluster prod" in first
    assert "rb breaker reset" in first
    assert "Storm over" in last
    assert "Not told one by one: 4213 refusals." in last
    assert [page.action for page in scene.pager.pages] == ["trigger", "resolve"]
    assert len({page.dedup_key for page in scene.pager.pages}) == 1
    assert (len(scene.teams.cards), len(scene.mailer.mails)) == (2, 2)


async def test_nobody_is_called_when_nothing_is_stopped():
    """No storm, no message."""
    scene = Scene()
    await scene.storm(count=5)
    await scene.calls.sweep()
    assert scene.chat.posted == []


async def test_a_call_that_reached_nobody_is_tried_again():
    """A human is called, or it is tried until one is."""
    scene = Scene(ways=("slack",))
    scene.chat.broken = True
    await scene.storm()
    await scene.calls.sweep()
    scene.chat.broken = False
    await scene.calls.sweep()
    await scene.calls.sweep()
    assert len(scene.chat.posted) == 1
    assert [told["outcome"] for told in scene.hooks.named("storm.told")] == ["failed", "sent"]


async def test_one_way_that_works_is_enough():
    """The others are not tried again: that would call those twice who were reached."""
    scene = Scene()
    scene.chat.broken = True
    await scene.storm()
    await scene.calls.sweep()
    await scene.calls.sweep()
    assert len(scene.pager.pages) == 1


async def test_ways_that_are_not_set_up_are_left_out():
    """An installation without any is told of it in its log and metrics, and does not try for ever."""
    scene = Scene(ways=("slack",))
    scene.chat.configured = False
    await scene.storm()
    await scene.calls.sweep()
    await scene.calls.sweep()
    assert [told["outcome"] for told in scene.hooks.named("storm.told")] == ["skipped"]


async def test_names_from_outside_are_text_and_secrets_are_masked():
    """No reason of an alert may call a channel or show a secret."""
    scene = Scene(ways=("slack",))
    await scene.storm(reason=f"{EVIL} hunter2")
    await scene.calls.sweep()
    ((_, text),) = scene.chat.posted
    assert "<!channel>" not in text
    assert "&lt;!channel&gt;" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("outcome", "verdict", "counted"),
    [
        (Outcome.ROLLBACK, Verdict.NOT_FIXED, Counted.NOT_FIXED),
        (Outcome.FAILURE, None, Counted.FAILURES),
        (Outcome.ROLLBACK, Verdict.INCONCLUSIVE, Counted.FAILURES),
        (Outcome.SUCCESS, Verdict.VERIFIED, None),
        (Outcome.ABORTED, None, None),
    ],
)
async def test_executions_that_failed_or_did_not_fix_it_are_counted(outcome, verdict, counted):
    """What ended well, and what changed nothing, is no storm."""
    scene = Scene()
    for number in range(4):
        await scene.watch.ended(record(id=f"e{number}", outcome=outcome, verdict=verdict))
    opened = [(change["axis"], change["counted"]) for change in scene.hooks.named("storm.opened")]
    expected = {Counted.FAILURES: [("runbook", "failures")], Counted.NOT_FIXED: [("cluster", "not_fixed")], None: []}
    assert opened == expected[counted]


async def test_messages_about_what_is_stopped_are_left_to_the_summary():
    """They are counted by what they were about; what is elsewhere is told as always."""
    scene = Scene(ways=("slack",))
    assert not await scene.watch.keeps(record(), "on_failure")
    await scene.storm()
    assert await scene.watch.keeps(record(), "on_failure")
    assert await scene.watch.keeps(record(), "on_approval")
    elsewhere = record(incident={**record().incident, "cluster": "test"})
    assert not await scene.watch.keeps(elsewhere, "on_failure")
    await scene.calls.sweep()
    assert "1 messages on_approval, 1 messages on_failure" in scene.chat.posted[0][1]


async def test_with_the_store_away_people_are_told_as_always():
    """Nobody can say that it is stopped, so nothing is kept from them, and nothing fails."""
    scene = Scene()
    await scene.storm()
    scene.breaker.away = True
    assert not await scene.watch.keeps(record(), "on_failure")
    await scene.watch.ended(record(outcome=Outcome.FAILURE))


async def test_a_person_who_resets_it_ends_the_storm_for_people_as_well():
    """They hear that it goes on."""
    scene = Scene(ways=("slack",))
    await scene.storm(count=6)
    await scene.calls.sweep()
    await scene.breaker.close(StormScope("acme", Axis.REASON, "prod/OOMKilled"), "ada", "false alarm")
    await scene.calls.sweep()
    assert "Storm over" in scene.chat.posted[-1][1]
