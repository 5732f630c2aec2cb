"""A role that is limited to a namespace or runbook sees and answers its own part, whatever id it is given."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import yaml
from fakes import graph_samples as samples
from fakes.memory_approvals import MemoryApprovalStore
from fakes.voters import voters

from executor.model import Status
from safety.access import Access, Actor, ActorKind, Assignment, Grant, Limits, Role, Scope, Subject, SubjectKind
from safety.approvals import ApprovalStatus, ask
from safety.permissions import Permission
from services.access import scopes
from services.access.door import Door
from services.cli import app, approvals, identity, runtime
from services.cli.identity import Caller
from services.records import ExecutionStory, ExecutionSummary

ROLE = {"name": "responder", "permissions": ["approvals:respond", "executions:*"]}


def execution(namespace="web", **facts):
    """An execution that waits for a human, with a target in a namespace."""
    incident = samples.incident(samples.signal())
    told = {"id": incident.id, "reason": "OOMKilled", "tenant": "default", "cluster": "default"}
    told |= {"target": {"namespace": namespace}} | facts
    plan = samples.plan(f"default/{namespace}/Deployment/shop")
    return samples.execution(incident, plan=plan, status=Status.WAITING_APPROVAL, incident=told)


@pytest.fixture
def desk(monkeypatch, tmp_path):
    """The commands on stores in memory, as Ada, whose role is limited by each test."""
    monkeypatch.chdir(tmp_path)
    for name in ("ROOTMEND_CONFIG", "ROOTMEND_STATE", "ROOTMEND_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    record = execution()
    question = ask(record.id, "i", record.plan.hash, ("why",), now=datetime.now(UTC), timeout=timedelta(minutes=30))
    store = MemoryApprovalStore()
    store.approvals[question.id] = question
    summary = ExecutionSummary(record.id, "i", record.plan.runbook_id, "1", record.plan.target_key, record.status,
                               None, None, None, None, None, tenant="default")  # fmt: skip

    class Executions:
        def __init__(self, *_):
            pass

        async def load(self, _):
            return record

        async def latest(self, **_):
            return [summary]

        async def tell(self, _):
            return [ExecutionStory(record)]

    @contextlib.asynccontextmanager
    async def opened(_):
        yield approvals.Stores(store, Executions(), voters())

    async def announced(*_):
        return True

    def limit(**scope):
        """Ada's role, within these limits."""
        assignment = {"role": "responder", "subjects": [{"user": "ada"}], **({"scope": scope} if scope else {})}
        (tmp_path / "roles.yaml").write_text(yaml.safe_dump({"roles": [ROLE], "assignments": [assignment]}))

    (tmp_path / "rootmend.yaml").write_text("access: {roles_file: roles.yaml}\n")
    monkeypatch.setattr(approvals, "_open", opened)
    monkeypatch.setattr(approvals, "_announce", announced)
    monkeypatch.setattr("services.graph.executions.Neo4jExecutionStore", Executions)
    monkeypatch.setattr(runtime, "open_graph", opened)
    monkeypatch.setattr(identity, "login", lambda: "ada")
    monkeypatch.setattr(identity, "tell", lambda _: None)
    return SimpleNamespace(limit=limit, question=question, record=record, answered=lambda: store.approvals[question.id])


PARTS = [
    ({}, True),
    ({"namespaces": ["web"]}, True),
    ({"namespaces": ["we?"], "clusters": ["default"], "tenants": ["default"]}, True),
    ({"runbooks": ["oom-*"]}, True),
    ({"namespaces": ["shop"]}, False),
    ({"runbooks": ["restart"]}, False),
    ({"clusters": ["other"]}, False),
    ({"tenants": ["other"]}, False),
]


@pytest.mark.parametrize(("limits", "allowed"), PARTS)
def test_an_answer_counts_only_from_who_may_answer_for_that_target_and_runbook(desk, capsys, limits, allowed):
    """The permission is asked again with the plan at hand; the answer is recorded under the caller's own id."""
    desk.limit(**limits)
    code = app.main(["approvals", "approve", desk.question.id[:8], "--yes"])
    assert code == (0 if allowed else 1), capsys.readouterr().err
    assert desk.answered().status is (ApprovalStatus.APPROVED if allowed else ApprovalStatus.PENDING)
    assert desk.answered().answered_by == ("ada" if allowed else "")
    assert allowed or "lacks the permission approvals:respond for tenant default" in capsys.readouterr().err


@pytest.mark.parametrize(("limits", "allowed"), PARTS)
def test_what_one_may_not_see_is_neither_listed_nor_shown(desk, capsys, limits, allowed):
    """Questions and executions, by list and by id."""
    desk.limit(**limits)
    for command in ("approvals", "executions"):
        assert app.main([command, "list", "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)) == allowed
        which = desk.question.id if command == "approvals" else desk.record.id
        assert app.main([command, "show", which[:8], "--json"]) == (0 if allowed else 1)
        found = capsys.readouterr()
        assert allowed == (desk.record.id in found.out)
        assert allowed or "lacks the permission executions:read" in found.err


def test_a_machine_answers_no_question_that_needs_a_person(monkeypatch, desk, capsys):
    """Whatever its role: four eyes are two people's."""
    desk.limit()
    access = Access([Role("responder", frozenset(Permission))], [])
    machine = Actor(ActorKind.TOKEN, "7f", "ci", grants=(Grant("responder"),))
    monkeypatch.setattr(identity, "open_caller", lambda *_: Caller(machine, Door(access), "rb approvals approve"))
    assert app.main(["approvals", "approve", desk.question.id[:8], "--yes"]) == 1
    assert "is a machine, and this needs a person" in capsys.readouterr().err
    assert desk.answered().status is ApprovalStatus.PENDING


def test_the_scope_of_a_record_is_its_target_and_runbook_and_what_is_missing_stays_open():
    """An open part is covered only by a role without a limit there."""
    record = execution("web")
    assert scopes.of_execution(record) == Scope("default", "default", "web", record.plan.runbook_id)
    assert scopes.of_execution(execution("", target=None)).namespace is None
    decision = samples.decision(incident=samples.incident(samples.signal()))
    target = decision.incident.target
    assert scopes.of_decision(decision).namespace == (target.namespace or None)
    limited = Access(
        [Role("r", frozenset({Permission.EXECUTIONS_READ}))],
        [Assignment("r", (Subject(SubjectKind.USER, "ada"),), Limits(namespaces=("*",)))],
    )
    ada = Actor(ActorKind.USER, "ada")
    assert limited.may(ada, Permission.EXECUTIONS_READ, scopes.of_execution(record))
    assert not limited.may(ada, Permission.EXECUTIONS_READ, scopes.of_execution(execution("")))
