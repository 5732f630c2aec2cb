"""Escalation, reminders, bypass and signed links, with a clock that is turned by hand and servers in memory."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape

import httpx
import pytest
from fakes.memory_notices import MemoryNotices, MemoryUsedLinks
from fakes.pipeline_rig import TOPICS, Rig, runbook
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.applications import Starlette

from executor.errors import NotConfigured, Unavailable
from executor.people_ports import Mailed, People
from safety.access import Access, Actor, ActorKind, Assignment, Role, Scope, Subject, SubjectKind
from safety.approvals import ApprovalError, ApprovalProblem, ApprovalStatus, Verb, ask
from safety.links import BadLink, Link, read, sign
from safety.notices import NoticeKind, due
from safety.oncall import Override, Rotation, Schedule, on_call
from safety.permissions import Permission
from safety.quorum import Approver, Channel, Escalation, Rule
from services.access.identities import Directory
from services.api.links import LinkPages
from services.approvals.answering import Answer, Answering
from services.approvals.delegations import BadDelegation, Delegation, MemoryDelegations, checked
from services.approvals.notices import NoticeDesk
from services.approvals.telling import Ways
from services.approvals.voters import Voters, from_file
from services.masking import masker
from services.settings_access import Person
from services.settings_approvals import Links

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
KEY = "k" * 32
PEOPLE = {
    "ada": Person(email="ada@example.com", groups=("oncall-primary",)),
    "bob": Person(email="bob@example.com", groups=("platform-team",)),
    "mia": Person(email="mia@example.com", groups=("engineering-manager",)),
    "lea": Person(email="lea@example.com", groups=("sre-lead",)),
}
RULE = {
    "name": "production",
    "step": "raise",
    "order": "sequential",
    "timeout": "15m",
    "approvers": [
        {"type": "group", "value": "oncall-primary", "required": True},
        {"type": "team", "value": "platform-team"},
    ],
    "escalation": [{"after": "5m", "notify": ["sre-lead"]}, {"after": "10m", "notify": ["engineering-manager"]}],
    "channels": [{"type": "slack", "channel": "#incidents"}, {"type": "pagerduty", "severity": "high"}],
}


class Recorder:
    """People who are told, with a way that can be away."""

    def __init__(self):
        self.sent, self.problem = [], None

    async def post(self, *given):
        self._take(("slack" if isinstance(given[1], str) else "teams", *given))

    async def send(self, given):
        self._take(("mail" if hasattr(given, "to") else "page", given))
        return Mailed("m", getattr(given, "to", ()))

    def _take(self, what):
        if self.problem:
            raise self.problem
        self.sent.append(what)

    def mails(self, to=None):
        return [one for way, one in self.of("mail") if to is None or list(one.to) == [f"{to}@example.com"]]

    def of(self, way):
        return [one for one in self.sent if one[0] == way]


class Office:
    """An open question with everybody around it; several desks share what is durable."""

    def __init__(self, **settings):
        self.rig = Rig(runbook(approvals={"rules": [RULE], "bypass": [{"roles": "sre-lead"}]}))
        self.people = Recorder()
        responder = Role("responder", frozenset({Permission.APPROVALS_RESPOND}))
        breaker = Role("breaker", frozenset({Permission.APPROVALS_BYPASS}))
        subjects = tuple(Subject(SubjectKind.USER, who) for who in PEOPLE)
        bypassers = (Subject(SubjectKind.USER, "lea"), Subject(SubjectKind.USER, "bob"))
        self.access = Access(
            [responder, breaker], [Assignment("responder", subjects), Assignment("breaker", bypassers)]
        )
        self.delegations = MemoryDelegations()
        self.directory = Directory(PEOPLE)
        self.voters = Voters(self.access, self.directory, None, self.delegations)
        self.notices = MemoryNotices(self.rig.store, self.rig.clock.monotonic)
        self.links = Links(base_url="https://rootmend.example.com", keys={"a": SecretStr(KEY)}, key="a")
        self.remind = settings.get("remind")
        self.process = self.rig.process()

    def desk(self, name="one"):
        ways = Ways(
            chat=self.people,
            people=People(teams=self.people, pager=self.people, mailer=self.people),
            http=None,
            clock=self.rig.clock,
            ways=("slack", "pagerduty", "mail"),
            channel="#sre",
            redact=lambda text: text,
        )
        return NoticeDesk(
            notices=self.notices,
            voters=self.voters,
            ledger=self.rig.store,
            ways=ways,
            directory=self.directory,
            links=self.links,
            clock=self.rig.clock,
            holder=name,
            redact=lambda text: text,
            remind_every=self.remind,
        )

    async def asked(self):
        await self.process.ingest.on_batch([self.rig.event()])
        (question,) = await self.rig.store.list(ApprovalStatus.PENDING)
        return question

    @property
    def answering(self):
        return Answering(
            approvals=self.rig.store,
            executions=self.rig.store,
            access=self.access,
            voters=self.voters,
            publisher=self.rig.kafka,
            topics=TOPICS,
            clock=self.rig.clock,
        )

    async def say(self, who, question, verb=Verb.APPROVE, **facts):
        given = Answer(question.id, question.plan_hash, verb, **{"reason": "looked at it", **facts})
        return await self.answering.answer(given, self.directory.user(who))

    def pages(self, **keys):
        return LinkPages(
            keys=keys or {"a": KEY},
            used=self.used,
            approvals=self.rig.store,
            ledger=self.rig.store,
            answering=self.answering,
            directory=self.directory,
            clock=self.rig.clock,
            redact=lambda text: text,
        )

    used = None

    def browser(self, **keys):
        self.used = self.used or MemoryUsedLinks()
        transport = httpx.ASGITransport(Starlette(routes=self.pages(**keys).routes()))
        return httpx.AsyncClient(transport=transport, base_url="https://rootmend.example.com")

    def link(self, who):
        (mail,) = [one for one in self.people.mails(who) if "/approvals/links/" in one.text]
        return re.search(r"https://\S+/approvals/links/\S+", mail.text)[0]


@pytest.fixture
def office():
    return Office()


async def test_whose_turn_it_is_gets_a_link_and_the_next_one_after_the_yes(office):
    """A sequence asks one after the other, each once, however many processes look."""
    question = await office.asked()
    for name in ("one", "two", "one"):
        await office.desk(name).sweep()
    assert len(office.people.mails("ada")) == 1
    assert office.people.mails("bob") == []
    early = await office.say("bob", question)
    assert isinstance(early, ApprovalError)
    assert early.problem is ApprovalProblem.NOT_ASKED
    assert (await office.say("ada", question)).status is ApprovalStatus.PENDING
    for name in ("two", "one"):
        await office.desk(name).sweep()
    assert len(office.people.mails("bob")) == 1
    assert (await office.say("bob", question)).status is ApprovalStatus.APPROVED
    await office.process.desk.sweep()
    await office.process.quiet()
    assert office.rig.outcomes() == ["success"]


async def test_escalation_comes_at_its_time_once_and_counts_from_then_on(office):
    """Not a second early; of two processes one tells; the manager may answer in the place of who is silent."""
    question = await office.asked()
    began = office.rig.clock.passed
    one, two = office.desk("one"), office.desk("two")
    await one.sweep()
    for seconds, times in ((299, 0), (300, 1), (301, 1), (599, 1), (600, 2), (601, 2)):
        office.rig.clock.passed = began + seconds
        await one.sweep()
        await two.sweep()
        told = [what for what in office.people.of("page") if "Nobody has answered" in what[1].summary]
        assert len(told) == times, seconds
    assert len(office.people.mails("lea")) == 2
    assert len(office.people.mails("mia")) == 2
    assert (await office.say("mia", question)).status is ApprovalStatus.PENDING
    assert (await office.say("bob", question)).status is ApprovalStatus.APPROVED


async def test_a_way_that_is_away_is_tried_again_and_one_that_is_not_set_up_is_not(office):
    """Nobody is forgotten because a server was away, and nothing is tried for ever."""
    await office.asked()
    desk = office.desk()
    office.people.problem = Unavailable("away")
    await desk.sweep()
    assert office.notices.told == {}
    office.people.problem = None
    await desk.sweep()
    assert office.people.sent == []
    office.rig.clock.passed += 6
    await desk.sweep()
    assert office.people.mails("ada")
    other = Office()
    await other.asked()
    other.people.problem = NotConfigured("not set up")
    await other.desk().sweep()
    assert {told.outcome for _, told in other.notices.told.values()} == {"skipped"}


async def test_a_reminder_comes_for_each_interval_that_passed_but_not_for_those_that_were_missed():
    """A process that was away for three intervals reminds once."""
    office = Office(remind=timedelta(minutes=2))
    await office.asked()
    office.rig.clock.passed += 430
    for _ in range(3):
        await office.desk().sweep()
    reminders = [what for what in office.people.of("mail") if "Reminder" in what[1].subject]
    assert len(reminders) == 1


async def test_a_bypass_needs_permission_role_and_justification_and_is_told_everywhere(office):
    """Who lacks one of them changes nothing; it is announced once on every way, and the plan runs."""
    question = await office.asked()
    for who, reason, problem in (
        ("ada", "shop is down", ApprovalProblem.NOT_ALLOWED),
        ("bob", "shop is down", ApprovalProblem.NOT_ALLOWED),
        ("lea", " ", ApprovalProblem.NO_REASON),
    ):
        refused = await office.say(who, question, Verb.BYPASS, reason=reason)
        assert isinstance(refused, ApprovalError)
        assert refused.problem is problem, who
    done = await office.say("lea", question, Verb.BYPASS, reason="shop is down")
    assert (done.status, done.bypassed) == (ApprovalStatus.APPROVED, "emergency-bypass")
    for name in ("one", "two"):
        await office.desk(name).sweep()
    told = [what for what in office.people.sent if "EMERGENCY BYPASS" in str(what)]
    assert sorted(one[0] for one in told) == ["mail", "page", "slack"]
    assert all("shop is down" in str(one) for one in told)
    await office.process.desk.sweep()
    await office.process.quiet()
    assert office.rig.outcomes() == ["success"]


async def test_a_bypass_overrides_no_limit_of_the_gate(office):
    """While automation is paused the plan does not run, whoever bypassed whom."""
    question = await office.asked()
    await office.say("lea", question, Verb.BYPASS, reason="shop is down")
    await office.process.gate.pause("ada", "hands off")
    await office.process.desk.sweep()
    await office.process.quiet()
    assert (office.rig.effects(), office.rig.outcomes()) == ([], ["waiting_approval"])


async def test_who_has_an_answer_in_hand_counts_as_its_owner_until_the_time_is_over(office):
    """Mia answers for Ada; afterwards she is herself again."""
    question = await office.asked()
    now = office.rig.clock.now()
    await office.delegations.add(Delegation("d", "ada", "mia", now, now + timedelta(minutes=2), "on a plane"))
    await office.desk().sweep()
    assert len(office.people.mails("mia")) == 1
    first = await office.say("mia", question)
    assert (first.yeses[0].by, first.yeses[0].stands_for) == ("mia", ("ada",))
    other = Office()
    late = await other.asked()
    at = other.rig.clock.now() - timedelta(minutes=3)
    await other.delegations.add(Delegation("d", "ada", "mia", at, at + timedelta(minutes=2), "on a plane"))
    assert (await other.say("mia", late)).problem is ApprovalProblem.NOT_ASKED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"to": "Ada "}, "somebody else"),
        ({"reason": " "}, "say why"),
        ({"until": NOW}, "before it begins"),
        ({"until": NOW + timedelta(days=15)}, "longest_delegation"),
    ],
)
def test_a_delegation_that_makes_no_sense_is_refused(changes, words):
    """To oneself, without a reason, without time, for too long."""
    made = Delegation("d", "ada", "bob", NOW, NOW + timedelta(hours=1), "on a plane")
    assert checked(made, timedelta(days=14)) == made
    with pytest.raises(BadDelegation, match=words):
        checked(replace(made, **changes), timedelta(days=14))


async def test_looking_at_a_link_changes_nothing_and_its_form_answers_once(office):
    """Scanners open every link, also with HEAD; the form counts once, a second click tells who was first."""
    question = await office.asked()
    await office.desk().sweep()
    url = office.link("ada")
    async with office.browser() as browser:
        for _ in range(3):
            page = await browser.get(url)
            assert (page.status_code, (await browser.head(url)).status_code) == (200, 200)
        assert await office.rig.store.get(question.id) == question
        assert page.headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        key = unescape(re.search(r'name="form" value="([^"]+)"', page.text)[1])
        given = {"form": key, "answer": "approve", "reason": "fine"}
        first = await browser.post(url, data=given)
        again = await browser.post(url, data=given)
        assert (first.status_code, again.status_code) == (200, 409)
        assert "used already" in again.text
        assert (await browser.get(url)).status_code == 410
    (yes,) = (await office.rig.store.get(question.id)).yeses
    assert (yes.by, yes.comment) == ("ada", "fine")


async def test_a_link_that_is_forged_changed_expired_or_sent_from_elsewhere_answers_nothing(office):
    """Each is refused in words, and the question stays as it was."""
    question = await office.asked()
    await office.desk().sweep()
    url = office.link("ada")
    base, _, token = url.rpartition("/")
    link = read(token, {"a": KEY})
    forged = sign(replace(link, person="bob"), "a", "x" * 32)
    async with office.browser() as browser:
        page = await browser.get(url)
        form = {"form": unescape(re.search(r'name="form" value="([^"]+)"', page.text)[1]), "answer": "approve"}
        for other in (forged, token[:-2], token + "A", token.replace("v1", "v2"), "x", "a.b.c.d"):
            assert (await browser.get(f"{base}/{other}")).status_code == 404
            assert (await browser.post(f"{base}/{other}", data=form)).status_code == 404
        assert (await browser.post(url, data={"answer": "approve"})).status_code == 403
        assert (await browser.post(url, data=form | {"form": "x"})).status_code == 403
        away = {"Sec-Fetch-Site": "cross-site"}
        assert (await browser.post(url, data=form, headers=away)).status_code == 403
        stranger = sign(replace(link, person="eve"), "a", KEY)
        assert (await browser.get(f"{base}/{stranger}")).status_code == 403
        other_plan = sign(replace(link, plan_hash="another"), "a", KEY)
        assert (await browser.get(f"{base}/{other_plan}")).status_code == 409
        assert await office.rig.store.get(question.id) == question
        office.rig.clock.passed += 15 * 60 + 1
        assert (await browser.get(url)).status_code == 410
        assert (await browser.post(url, data=form)).status_code == 410
    assert (await office.rig.store.get(question.id)).yeses == ()


async def test_links_of_a_key_that_was_replaced_hold_until_it_is_taken_out(office):
    """Rotation loses no mail that is on its way; a key that leaked is taken out."""
    await office.asked()
    await office.desk().sweep()
    url = office.link("ada")
    async with office.browser(b="n" * 32, a=KEY) as both, office.browser(b="n" * 32) as new:
        assert (await both.get(url)).status_code == 200
        assert (await new.get(url)).status_code == 404


async def test_a_no_by_link_needs_a_reason_and_the_link_stays_good_until_it_has_one(office):
    """An answer that does not count uses nothing up."""
    question = await office.asked()
    await office.desk().sweep()
    url = office.link("ada")
    async with office.browser() as browser:
        page = await browser.get(url)
        form = {"form": unescape(re.search(r'name="form" value="([^"]+)"', page.text)[1]), "answer": "deny"}
        assert (await browser.post(url, data=form)).status_code == 409
        assert (await browser.post(url, data=form | {"reason": "not <b>now</b>"})).status_code == 200
        assert "<b>now" not in (await browser.get(url)).text
    assert (await office.rig.store.get(question.id)).status is ApprovalStatus.DENIED


@given(st.uuids(), st.sampled_from(["ada", "ada@example.com", "o'neil"]))
def test_a_link_survives_the_mask_of_outgoing_messages(number, person):
    """What takes tokens out of mails and cards must leave it whole."""
    url = f"https://x.example.com/{sign(Link(f'{number}|mail|{person}', str(number), 'f' * 64, person, 9), 'a', KEY)}"
    assert masker.text(f"Look:\n{url}\n") == f"Look:\n{url}\n"


@given(st.text(max_size=60), st.text(max_size=20), st.integers(0, 2**40))
def test_any_link_is_read_as_it_was_signed_and_no_other_text_is_one(person, number, ends):
    """Whatever it says comes back; one changed character makes it none of ours."""
    link = Link(number, "a-1", "hash", person, ends)
    text = sign(link, "a", KEY)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", text)
    if len(text) <= 2_000:
        assert read(text, {"a": KEY}) == link
    for at in range(0, len(text), 7):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        with pytest.raises(BadLink):
            read(changed, {"a": KEY})


WEEK = Schedule(
    "oncall-primary",
    "Europe/Vienna",
    (Rotation(datetime(2026, 3, 2, 9), timedelta(days=7), ("ada", "bob")),),
    (Override(datetime(2026, 3, 4, 18), datetime(2026, 3, 5, 9), "mia"),),
)


@pytest.mark.parametrize(
    ("at", "who"),
    [
        (datetime(2026, 3, 2, 7, 59, tzinfo=UTC), ()),
        (datetime(2026, 3, 2, 8, 0, tzinfo=UTC), ("ada",)),
        (datetime(2026, 3, 4, 16, 59, tzinfo=UTC), ("ada",)),
        (datetime(2026, 3, 4, 17, 0, tzinfo=UTC), ("mia",)),
        (datetime(2026, 3, 5, 8, 0, tzinfo=UTC), ("ada",)),
        (datetime(2026, 3, 9, 7, 59, tzinfo=UTC), ("ada",)),
        (datetime(2026, 3, 9, 8, 0, tzinfo=UTC), ("bob",)),
        (datetime(2026, 3, 30, 6, 59, tzinfo=UTC), ("bob",)),
        (datetime(2026, 3, 30, 7, 0, tzinfo=UTC), ("ada",)),
    ],
)
def test_who_is_on_call_follows_the_clock_on_the_wall(at, who):
    """Nobody before the start, handovers at nine also after clocks changed, overrides alone."""
    assert on_call(WEEK, at) == who


async def test_who_is_on_call_is_what_the_rule_asks_for():
    """The name of a schedule is a role, group and team to who is on call by it, and to nobody else."""
    voters = Voters(Access(), Directory(PEOPLE), from_file([WEEK]), MemoryDelegations())
    at = datetime(2026, 3, 10, tzinfo=UTC)
    for who, has in (("bob", True), ("mia", False)):
        actor = Actor(ActorKind.USER, who)
        assert ("role:oncall-primary" in (await voters.voter(actor, Scope(), at)).hats) is has
    assert await voters.people([("role", "oncall-primary")], Scope(), at) == ("bob",)


def test_a_question_with_no_answer_left_to_wait_for_is_told_to_nobody():
    """Answered or expired: nothing is due any more, but a bypass is."""
    rule = Rule(
        "r", approvers=(Approver("role", "x"),), escalation=(Escalation(60, ("y",)),), channels=(Channel("slack"),)
    )
    made = ask("e", "i", "h", ["why"], now=NOW, timeout=timedelta(minutes=5), rules=(rule,))
    assert [one.kind for one in due(made, NOW)] == [NoticeKind.ASKED]
    assert [one.kind for one in due(made, NOW + timedelta(seconds=60))] == [NoticeKind.ASKED, NoticeKind.ESCALATION]
    assert due(made, made.expires_at) == ()
    assert due(replace(made, status=ApprovalStatus.DENIED), NOW + timedelta(seconds=60)) == ()
    bypassed = replace(made, status=ApprovalStatus.APPROVED, bypassed="x")
    assert [one.kind for one in due(bypassed, NOW)] == [NoticeKind.BYPASS]
