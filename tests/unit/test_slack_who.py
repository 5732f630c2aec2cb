"""Whose answer counts in Slack, what the settings must say for it, and that people are asked in one way only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from fakes.memory_approvals import MemoryApprovalStore
from fakes.recording_publisher import RecordingPublisher
from fakes.voters import voters
from fakes.world import FakeClock, FakeWorld
from pydantic import ValidationError

from compose.slack import LocalSlack
from executor.model import ExecutionRecord, Plan, Status
from executor.notify import Notifier
from safety.access import Access, Actor, ActorKind, Assignment, Limits, Role, Subject, SubjectKind, single_operator
from safety.approvals import Approval, ApprovalError, ApprovalProblem, ApprovalStatus, Verb, ask
from safety.permissions import Permission
from services.approvals.answering import Answer, Answering
from services.settings_model import Settings, Topics
from services.slack.client import SlackApi
from services.slack.who import SettingsWho, UnknownPerson

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALICE = Actor(ActorKind.SLACK, "U0ALICE", name="alice", owner="alice")


@pytest.fixture
async def slack():
    async with LocalSlack() as made:
        yield made


def who(slack, users):
    return SettingsWho(users, SlackApi(slack.bot_token, base_url=slack.base_url), FakeClock())


async def test_an_account_is_tied_to_a_person_by_id_without_asking_slack(slack):
    """The id is what Slack vouches for."""
    actor = await who(slack, {"U1": "alice"}).actor("U1")
    assert (actor.kind, actor.id, actor.person, actor.claimed) == (ActorKind.SLACK, "U1", "alice", False)
    assert slack.asked == []


async def test_an_account_is_tied_by_its_confirmed_address_and_remembered_for_a_while(slack):
    """Whatever its case; Slack is asked once a minute."""
    slack.workspace.add_user("U2", "Bob", "Bob@Example.com")
    mapped = who(slack, {"bob@example.com": "bob"})
    assert [(await mapped.actor("U2")).person for _ in range(3)] == ["bob"] * 3
    assert [method for method, _ in slack.asked] == ["users.info"]


@pytest.mark.parametrize(
    "marks",
    [
        {"is_email_confirmed": False},
        {"is_restricted": True},
        {"is_ultra_restricted": True},
        {"is_stranger": True},
        {"is_bot": True},
        {"deleted": True},
    ],
)
async def test_an_address_that_could_be_made_up_ties_nobody(slack, marks):
    """Guests, bots, people of connected workspaces, unconfirmed addresses: each is nobody."""
    slack.workspace.add_user("U3", "Eve", "bob@example.com", **marks)
    with pytest.raises(UnknownPerson, match="not tied to a person"):
        await who(slack, {"bob@example.com": "bob"}).actor("U3")


async def test_who_is_not_known_or_cannot_be_looked_up_is_nobody(slack):
    """Deny by default, also when Slack is away, limits the rate, or may not tell addresses."""
    slack.workspace.add_user("U4", "Zoe", "zoe@example.com")
    mapped = who(slack, {"bob@example.com": "bob", "U1": "alice"})
    for unknown in ("U4", "U9", ""):
        with pytest.raises(UnknownPerson):
            await mapped.actor(unknown)
    slack.workspace.scopes.discard("users:read.email")
    with pytest.raises(UnknownPerson):
        await who(slack, {"zoe@example.com": "zoe"}).actor("U4")
    slack.limit("users.info", 3)
    with pytest.raises(UnknownPerson, match="cannot be looked up now"):
        await who(slack, {"zoe@example.com": "zoe"}).actor("U4")
    await slack.away()
    with pytest.raises(UnknownPerson, match="cannot be looked up now"):
        await who(slack, {"zoe@example.com": "zoe"}).actor("U4")
    assert (await mapped.actor("U1")).person == "alice"


def record():
    plan = Plan(runbook_id="fix", runbook_version="1", runbook_sha="x", target_key="c/shop/Deployment/app", steps=())
    incident = {"id": "i-1", "tenant": "t", "cluster": "c", "target": {"namespace": "shop"}}
    told = {"on_approval": {"slack": {"channel": "#sre", "message": "may I?"}, "webhook": {"url": "http://hook/x"}}}
    return ExecutionRecord(id="e-1", plan=plan, incident=incident, status=Status.WAITING_APPROVAL, notification=told)


async def desk(access):
    """An open question, and who takes answers to it."""
    approvals, clock = MemoryApprovalStore(), SimpleNamespace(now=lambda: NOW)
    asked = await approvals.request(ask("e-1", "i-1", "hash", ("careful",), now=NOW, timeout=timedelta(minutes=5)))

    async def load(_):
        return record()

    answering = Answering(
        approvals=approvals,
        executions=SimpleNamespace(load=load),
        access=access,
        voters=voters(access),
        publisher=RecordingPublisher(),
        topics=Topics(),
        clock=clock,
    )
    return approvals, asked, answering


def roles(*namespaces):
    responder = Role("oncall", frozenset({Permission.APPROVALS_RESPOND}))
    subject = Subject(SubjectKind.USER, "alice")
    return Access([responder], [Assignment("oncall", (subject,), Limits(namespaces=namespaces))])


@pytest.mark.parametrize(
    ("access", "actor", "counts"),
    [
        (single_operator(), ALICE, True),
        (single_operator(), Actor(ActorKind.SLACK, "U0NOBODY"), False),
        (single_operator(), Actor(ActorKind.SLACK, "U0ALICE", owner="alice", claimed=True), False),
        (roles("shop"), ALICE, True),
        (roles("other"), ALICE, False),
        (roles("shop"), Actor(ActorKind.SLACK, "U0BOB", owner="bob"), False),
        (Access(), ALICE, False),
    ],
)
async def test_an_answer_counts_only_of_a_person_who_may_answer_there(access, actor, counts):
    """Tied to a person, and, where roles are configured, with approvals:respond for this very namespace."""
    approvals, asked, answering = await desk(access)
    answered = await answering.answer(Answer(asked.id, "hash", Verb.APPROVE), actor)
    if counts:
        assert isinstance(answered, Approval)
        assert answered.answered_by == "alice"
    else:
        assert isinstance(answered, ApprovalError)
        assert answered.problem is ApprovalProblem.NOT_ALLOWED
        assert (await approvals.get(asked.id)).status is ApprovalStatus.PENDING


async def test_an_answer_to_an_unknown_question_or_another_plan_changes_nothing():
    """Values, not errors: the surface tells them to the person."""
    approvals, asked, answering = await desk(single_operator())
    for given in (Answer("no-such", "hash", Verb.APPROVE), Answer(asked.id, "other", Verb.APPROVE)):
        assert isinstance(await answering.answer(given, ALICE), ApprovalError)
    assert (await approvals.get(asked.id)).status is ApprovalStatus.PENDING


@pytest.mark.parametrize(
    ("slack", "says"),
    [
        ({"mode": "socket", "token": "x", "channel": "#a"}, "slack.app_token"),
        ({"mode": "socket", "app_token": "x", "channel": "#a"}, "slack.token"),
        ({"mode": "socket", "token": "x", "app_token": "y"}, "slack.channel"),
        ({"mode": "http", "token": "x", "channel": "#a"}, "slack.signing_secret"),
        ({"mode": "carrier-pigeon"}, "'off', 'socket' or 'http'"),
        ({"token": " "}, "empty secret"),
        ({"users": {"U1": " "}}, "person's name"),
    ],
)
def test_settings_that_cannot_work_stop_the_start(slack, says):
    """Each names what is missing."""
    with pytest.raises(ValidationError, match=says):
        Settings(slack=slack)


def test_http_without_the_http_side_stops_the_start():
    """Slack could call nobody."""
    given = {"mode": "http", "token": "x", "channel": "#a", "signing_secret": "y"}
    assert Settings(slack=given).slack.asks
    with pytest.raises(ValidationError, match=r"api\.enabled"):
        Settings(slack=given, api={"enabled": False})


@pytest.mark.parametrize(("elsewhere", "posts"), [((), 1), (("slack",), 0)])
async def test_people_are_asked_in_slack_by_the_text_or_by_the_question_never_by_both(elsewhere, posts):
    """Other channels hear of it in any case, and other moments are told in Slack as before."""
    fake, heard = FakeWorld(), []
    hooks = SimpleNamespace(event=lambda name, **facts: heard.append((name, facts.get("channel"))))
    notifier = Notifier(fake.ports, hooks, str, elsewhere)
    await notifier.tell(record(), "on_approval")
    assert fake.chat.messages == [("#sre", "may I?")] * posts
    assert [channel for _, channel in heard].count("slack") == posts
    assert [channel for _, channel in heard].count("webhook") == 1
