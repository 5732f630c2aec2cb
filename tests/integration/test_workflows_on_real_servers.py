"""Approval workflows on the real servers: two processes, REST, mail with signed links, escalation and bypass."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from html import unescape
from uuid import uuid4

import httpx
import pytest
import yaml
from fakes.served import mark, runbook, served, until
from fakes.smtp import mail_server

from safety.access import Grant
from services.access.tokens import issue
from services.graph.connect import Graph
from services.graph.tokens import Neo4jTokens

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

WAIT = 60
PEOPLE = ("ada", "bob", "lea")
ROLES = {
    "roles": [
        {"name": "responder", "permissions": ["executions:*", "approvals:respond", "approvals:delegate"]},
        {"name": "sre-lead", "inherits": "responder", "permissions": ["approvals:bypass"]},
    ],
    "assignments": [
        {"role": "responder", "subjects": [{"user": "ada"}, {"user": "bob"}]},
        {"role": "sre-lead", "subjects": [{"user": "lea"}]},
    ],
}
SCHEDULES = {
    "schedules": [
        {"name": "oncall-primary", "rotations": [{"start": "2026-01-01T00:00", "every": "7d", "people": ["ada"]}]},
        {"name": "oncall-secondary", "rotations": [{"start": "2026-01-01T00:00", "every": "7d", "people": ["bob"]}]},
    ]
}
RULE = {
    "name": "production",
    "order": "sequential",
    "timeout": "15m",
    "approvers": [
        {"type": "role", "value": "oncall-primary", "required": True},
        {"type": "role", "value": "oncall-secondary"},
    ],
}


def approvals(**changes):
    return {"rules": [{**RULE, **changes}], "bypass": [{"name": "emergency", "roles": ["sre-lead"]}]}


class Site:
    """Two processes that ask by mail, and people with tokens."""

    def __init__(self, world, post, urls, tokens):
        self.world, self.post, self.urls, self.tokens = world, post, urls, tokens

    async def question(self, reason):
        """Something breaks; gives event id and the open question."""
        app = f"app-{uuid4().hex[:6]}"
        await self.world.app(app, self.space)
        short, body = self.world.rca(app, self.space, reason)
        await self.world.send([(short, body)])
        event = json.loads(body)["incident_id"]
        execution = await self.world.execution(event, "waiting_approval")
        (row,) = await self.world.query("MATCH (a:Approval {execution_id: $id}) RETURN a.id AS id", id=execution["id"])
        return event, row["id"]

    async def http(self, who, method, path, **more):
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        async with httpx.AsyncClient(base_url=self.urls[0], timeout=WAIT) as http:
            return await http.request(method, f"/api/v1/approvals{path}", headers=headers, **more)

    async def mails(self, who, approval, words, count=1):
        async def look():
            found = [
                mail
                for mail, to in zip(self.post.mails, self.post.recipients, strict=True)
                if f"{who}@example.com" in to and approval in mail.get_content() and words in str(mail["Subject"])
            ]
            return found if len(found) >= count else None

        return await until(look, f"{who} gets a mail about {approval}", WAIT)

    async def audit(self, subject):
        rows = await self.world.query(
            "MATCH (e:AuditEntry {subject: $id}) RETURN e.kind AS kind, e.actor AS actor, e.reason AS reason, "
            "e.facts AS facts",
            id=subject,
        )
        return [{**row, "facts": json.loads(row["facts"])} for row in rows]


async def token_of(world, who, role):
    """An API token that stands for somebody."""
    graph = Graph(world.driver, world.settings["neo4j"].get("database", "neo4j"))
    text, kept = issue("test", [Grant(role)], owner=who, by="test", now=datetime.now(UTC), lasts=timedelta(hours=1))
    await Neo4jTokens(graph, f"{world.name}:").create(kept)
    return text


@pytest.fixture(scope="module")
async def site(stack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("workflows")
    (folder / "roles.yaml").write_text(yaml.safe_dump(ROLES))
    (folder / "oncall.yaml").write_text(yaml.safe_dump(SCHEDULES))
    async with AsyncExitStack() as held:
        post = await held.enter_async_context(mail_server(folder))
        settings = {
            "access": {
                "roles_file": str(folder / "roles.yaml"),
                "people": {who: {"email": f"{who}@example.com"} for who in PEOPLE},
            },
            "api": {"enabled": True, "port": 0},
            "mail": {
                "host": "127.0.0.1",
                "port": post.port,
                "sender": "bot@rootmend.dev",
                "ca_file": str(post.ca_file),
            },
            "approvals": {
                "on_call": str(folder / "oncall.yaml"),
                "tell": ["mail"],
                "links": {"base_url": "https://rootmend.example.com", "key": "one"},
            },
        }
        settings["mail"] |= {"to": ["all@example.com"]}
        environment = {"ROOTMEND_APPROVALS__LINKS__KEYS": json.dumps({"one": "s3cret-" * 6})}
        world = await held.enter_async_context(
            served(stack, folder / "site", settings=settings, environment=environment)
        )
        world.runbook("two", runbook("TwoTrouble", mark("fixed"), approvals=approvals()))
        quick = approvals(escalation=[{"after": "3s", "notify": ["oncall-secondary"]}])
        world.runbook("quick", runbook("QuickTrouble", mark("fixed"), approvals=quick))
        processes = [await world.serve(), await world.serve()]
        tokens = {who: await token_of(world, who, "sre-lead" if who == "lea" else "responder") for who in PEOPLE}
        made = Site(world, post, [one.log("service.ready")[0]["url"] for one in processes], tokens)
        made.space = await world.namespace()
        yield made


async def test_a_sequence_by_rest_and_link_is_answered_once_by_whose_turn_it_is(site):
    """Ada's link, opened by a scanner first, then clicked twice; then Bob over REST; the third comes too late."""
    event, number = await site.question("TwoTrouble")
    listed = (await site.http("bob", "GET", "")).json()["approvals"]
    (shown,) = [one for one in listed if one["id"] == number]
    assert shown["wanted"] == ["role oncall-primary (required)"]
    body = {"answer": "approve", "plan_hash": shown["plan_hash"], "reason": "fine"}
    early = await site.http("bob", "POST", f"/{number}/answer", json=body)
    assert early.status_code == 403, early.text
    assert "not among those who are asked now" in early.json()["detail"]
    changed = await site.http("bob", "POST", f"/{number}/answer", json=body | {"plan_hash": "another"})
    assert (changed.status_code, changed.json()["problem"]) == (409, "plan_changed")
    (mail,) = await site.mails("ada", number, "Your approval is needed")
    path = re.search(r"https://rootmend.example.com(/approvals/links/\S+)", mail.get_content())[1]
    async with (
        httpx.AsyncClient(base_url=site.urls[0], timeout=WAIT) as one,
        httpx.AsyncClient(base_url=site.urls[1], timeout=WAIT) as two,
    ):
        page = await one.get(path)
        assert page.status_code == 200, page.text
        assert (await two.get(path)).status_code == 200
        assert (await site.http("ada", "GET", f"/{number}")).json()["yeses"] == []
        form = {"form": unescape(re.search(r'name="form" value="([^"]+)"', page.text)[1]), "answer": "approve"}
        codes = [one.status_code for one in await asyncio.gather(one.post(path, data=form), two.post(path, data=form))]
        assert sorted(codes) == [200, 409]
    await site.mails("bob", number, "Your approval is needed")
    done = await site.http("bob", "POST", f"/{number}/answer", json=body)
    assert (done.status_code, done.json()["answered_by"]) == (200, "ada, bob"), done.text
    late = await site.http("lea", "POST", f"/{number}/answer", json=body | {"answer": "deny"})
    assert (late.status_code, late.json()["answered_by"]) == (409, "ada, bob")
    assert (await site.world.execution(event, "done"))["outcome"] == "success"
    assert len(await site.mails("ada", number, "Your approval is needed")) == 1
    kinds = [(one["kind"], one["facts"].get("to")) for one in await site.audit(number)]
    assert kinds.count(("approval.told", ["ada"])) == 1
    assert kinds.count(("approval.told", ["bob"])) == 1


async def test_an_escalation_is_carried_out_once_by_two_processes_and_counts(site):
    """After its time the secondary is told by mail, once, and may answer in the place of the primary."""
    _, number = await site.question("QuickTrouble")
    await site.mails("bob", number, "Nobody has answered yet")
    shown = (await site.http("bob", "GET", f"/{number}")).json()
    body = {"answer": "approve", "plan_hash": shown["plan_hash"], "reason": "taking over"}
    answered = await site.http("bob", "POST", f"/{number}/answer", json=body)
    assert (answered.status_code, answered.json()["status"]) == (200, "pending"), answered.text
    no = await site.http("ada", "POST", f"/{number}/answer", json=body | {"answer": "deny"})
    assert no.json()["status"] == "denied"
    told = [one for one in await site.audit(number) if one["facts"].get("kind") == "escalation"]
    assert [one["facts"]["way"] for one in told] == ["mail"]
    assert len(await site.mails("bob", number, "Nobody has answered yet")) == 1


async def test_a_bypass_is_for_its_role_justified_recorded_as_critical_and_announced(site):
    """Bob may not; Lea may, with a reason; everybody is told, and the plan runs."""
    event, number = await site.question("TwoTrouble")
    shown = (await site.http("lea", "GET", f"/{number}")).json()
    body = {"answer": "bypass", "plan_hash": shown["plan_hash"], "reason": "payments are down"}
    refused = await site.http("bob", "POST", f"/{number}/answer", json=body)
    assert refused.status_code == 403
    assert "approvals:bypass" in refused.json()["detail"]
    silent = await site.http("lea", "POST", f"/{number}/answer", json=body | {"reason": ""})
    assert (silent.status_code, "justification" in silent.json()["detail"]) == (422, True)
    done = await site.http("lea", "POST", f"/{number}/answer", json=body)
    assert (done.status_code, done.json()["bypassed"]) == (200, "emergency"), done.text
    assert (await site.world.execution(event, "done"))["outcome"] == "success"
    (mail,) = await site.mails("all", number, "EMERGENCY BYPASS")
    assert "payments are down" in mail.get_content()
    (override,) = [one for one in await site.audit(number) if one["kind"] == "override.used"]
    assert (override["actor"], override["reason"], override["facts"]["level"]) == (
        "lea",
        "payments are down",
        "critical",
    )


async def test_answers_are_handed_over_on_the_command_line_for_a_time(site):
    """Lea answers for Ada until Ada takes it back; both are on record."""
    site.world.environment = {**site.world.environment, "ROOTMEND_TOKEN": site.tokens["ada"]}
    words = ("approvals", "delegate", "--to", "lea", "--for", "1h", "--reason", "on a plane")
    made = await site.world.rb(*words)
    assert made.returncode == 0, made.stderr
    wrong = await site.world.rb("approvals", "delegate", "--to", "leaa", "--for", "1h", "--reason", "x")
    assert (wrong.returncode, "did you mean lea" in wrong.stderr) == (2, True), wrong.stderr
    event, number = await site.question("TwoTrouble")
    await site.mails("lea", number, "Your approval is needed")
    site.world.environment["ROOTMEND_TOKEN"] = site.tokens["lea"]
    yes = await site.world.rb("approvals", "approve", number, "--yes")
    assert (yes.returncode, "Your yes is kept" in yes.stdout) == (0, True), yes.stderr
    shown = (await site.http("ada", "GET", f"/{number}")).json()
    assert [(one["by"], one["stands_for"]) for one in shown["yeses"]] == [("lea", ["ada"])]
    site.world.environment["ROOTMEND_TOKEN"] = site.tokens["ada"]
    (one,) = json.loads((await site.world.rb("approvals", "delegations", "--json")).stdout)
    assert (await site.world.rb("approvals", "undelegate", one["id"][:8])).returncode == 0
    kinds = [entry["kind"] for entry in await site.audit(one["id"])]
    assert sorted(kinds) == ["approval.delegated", "approval.delegation_ended"]
    deny = {"answer": "deny", "plan_hash": shown["plan_hash"], "reason": "enough"}
    assert (await site.http("ada", "POST", f"/{number}/answer", json=deny)).status_code == 200
    await site.world.execution(event, "done")
