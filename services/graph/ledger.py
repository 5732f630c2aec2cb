"""Decisions in the graph: written in batches, found again by people and by the pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from executor.model import ExecutionRecord
from matcher.model import Subject
from safety.trail import PIPELINE, Entry, EntryKind
from services.audit import telling
from services.audit.owners import remember
from services.audit.trail import Neo4jTrail, Teller
from services.graph.connect import Graph, Row
from services.graph.decision_rows import Inputs, decision_of, open_incident_of, state_of, upsert_row
from services.graph.execution_rows import approval_row, execution_row
from services.graph.executions import stories
from services.graph.formats import FORMAT, readable
from services.graph.identity import rids
from services.graph.values import instant, moment
from services.records import DecisionRecord, DecisionState, OpenIncident, Repeat, Story

_EVENTS_TIED = 20
"""Most events of one write that a decision is tied to; a storm would tie hundreds, which tells nothing more."""
_PREFIX = 6
_RECENT = timedelta(days=7)

TOGETHER = (
    "decisions_upsert",
    "decisions_repeat",
    "decisions_about",
    "runbook_versions",
    "executions_upsert",
    "executions_events",
    "executions_targets",
    "approvals_store",
)
"""What a batch of decisions leads to, in the order in which it is written: one statement."""


class Neo4jDecisionLedger:
    """Implements ``services.ports.DecisionLedger``.

    Args:
        default_tenant: nodes of KGroot without ``client_id`` are this tenant's.
        cluster: whose waiting decisions are taken up again; empty for any.
    """

    def __init__(self, graph: Graph, default_tenant: str, cluster: str = "") -> None:
        self._graph = graph
        self._cluster = cluster
        self._default_tenant = default_tenant
        self._trail = Neo4jTrail(graph)
        self._used: set[tuple[str, str]] = set()

    async def open_incidents(self, fingerprints: Sequence[str]) -> Mapping[str, OpenIncident]:
        """See the port; one query."""
        rows = await self._graph.read("incidents_newest", fingerprints=list(dict.fromkeys(fingerprints)))
        known = ({**row["d"], "_fingerprint": row["fingerprint"], "_execution": row["e"]} for row in rows)
        found = readable(
            self._graph.unreadable,
            "decision",
            known,
            lambda row: (row["_fingerprint"], open_incident_of(row, row["_execution"])),
        )
        return dict(found)

    async def open_alerts(self, alert_keys: Sequence[str]) -> Mapping[str, DecisionState]:
        """See the port; one query."""
        rows = await self._graph.read("decisions_open_alerts", alert_keys=list(dict.fromkeys(alert_keys)))
        known = ({**row["d"], "_alert_key": row["alert_key"]} for row in rows)
        return dict(readable(self._graph.unreadable, "decision", known, lambda row: (row["_alert_key"], state_of(row))))

    async def record(self, batch: Sequence[DecisionRecord | Repeat]) -> None:
        """See the port; one statement, in the order of ``TOGETHER``, and what is told of it."""
        if not batch:
            return
        writes = dict(zip(TOGETHER, self._writes(batch), strict=True))
        decisions = [part for part in batch if isinstance(part, DecisionRecord)]
        new = {(row["id"], row["sha"]): row["version"] for row in writes["runbook_versions"]}
        new = {version: name for version, name in new.items() if version not in self._used}
        await self._trail.together(writes, telling.by_tenant(decisions, new))
        self._used.update(new)
        remember(self._graph, decisions)

    def _writes(self, batch: Sequence[DecisionRecord | Repeat]) -> Iterable[list[Row]]:
        parts: dict[str, list[DecisionRecord | Repeat]] = {}
        for part in batch:
            parts.setdefault(part.id if isinstance(part, DecisionRecord) else part.decision_id, []).append(part)
        # Everybody locks nodes in the order of their ids, so that two writers do not wait for each other in a circle.
        ordered = [(key, parts[key]) for key in sorted(parts)]
        decided = {key: _latest(group) for key, group in ordered}
        inputs = {key: Inputs.of(group) for key, group in ordered}
        decisions = [decision for decision in decided.values() if decision]
        yield [upsert_row(decision, inputs[decision.id]) for decision in decisions]
        yield [inputs[key].row(key) for key, decision in decided.items() if decision is None]
        yield self._events(decided, inputs, {key: group[0] for key, group in ordered})
        running = [(decision, decision.execution) for decision in decisions if decision.execution]
        yield _runbooks(decisions)
        yield [execution_row(decision, record) for decision, record in running]
        yield [self._tied(decision, record) for decision, record in running]
        yield [row for decision, record in running for row in self._targets(decision, record)]
        yield [approval_row(decision.approval) for decision in decisions if decision.approval]

    def _events(
        self,
        decided: Mapping[str, DecisionRecord | None],
        inputs: Mapping[str, Inputs],
        first: Mapping[str, DecisionRecord | Repeat],
    ) -> list[Row]:
        rows = []
        for key, decision in decided.items():
            part = first[key]
            tenant = part.signal.tenant if isinstance(part, DecisionRecord) else part.tenant
            roles = dict.fromkeys(inputs[key].event_ids[:_EVENTS_TIED], "symptom")
            if decision:
                roles[decision.signal.event_id] = "symptom"
                if decision.incident:
                    roles.setdefault(decision.incident.cause.event_id, "cause")
            shared = {"id": key, "tenant": tenant, "untagged": tenant == self._default_tenant}
            rows += [{**shared, "event_id": event, "role": role} for event, role in roles.items() if event]
        return rows

    def _tied(self, decision: DecisionRecord, record: ExecutionRecord) -> Row:
        tenant = decision.signal.tenant
        return {
            "id": record.id,
            "symptom_id": decision.signal.event_id,
            "cause_id": decision.incident.cause.event_id if decision.incident else "",
            "tenant": tenant,
            "untagged": tenant == self._default_tenant,
        }

    def _targets(self, decision: DecisionRecord, record: ExecutionRecord) -> list[Row]:
        if decision.incident is None:
            return []
        target = decision.incident.target
        names = rids(Subject(target.kind, target.name, target.namespace, target.uid))
        tenant = decision.signal.tenant
        shared = {"id": record.id, "tenant": tenant, "untagged": tenant == self._default_tenant}
        return [{**shared, "rid": rid} for rid in names]

    async def waiting_due(self, now: datetime, limit: int, hold_seconds: float = 30) -> Sequence[DecisionRecord]:
        """See the port."""
        parameters = {
            "now": now,
            "limit": limit,
            "hold_seconds": hold_seconds,
            "cluster": self._cluster,
            "format": FORMAT,
        }
        (rows,) = await self._graph.write(("decisions_due", parameters))
        return sorted(self._readable(rows), key=lambda d: d.next_check_at or now)

    async def waiting_for(self, events: Sequence[tuple[str, str]]) -> Sequence[DecisionRecord]:
        """See the port; one query."""
        if not events:
            return ()
        asked = [{"tenant": tenant, "event_id": event} for tenant, event in dict.fromkeys(events)]
        return tuple(self._readable(await self._graph.read("decisions_waiting_for", events=asked)))

    def _readable(self, rows: Sequence[Row]) -> list[DecisionRecord]:
        return readable(self._graph.unreadable, "decision", (row["d"] for row in rows), decision_of)

    async def close(self, alert_keys: Sequence[str], at: datetime) -> Sequence[str]:
        """See the port."""
        if not alert_keys:
            return ()

        def tell(teller: Teller, results: list[list[Row]]) -> None:
            for row in results[0]:
                facts = {"kind": row["kind"], "resolved_at": at}
                closed = Entry(EntryKind.DECISION_CLOSED, row["id"], PIPELINE, "the alert was resolved", facts)
                teller.tell(row["tenant"], replace(closed, incident_id=row["incident_id"]))

        parameters = {"alert_keys": list(alert_keys), "at": at}
        (rows,) = await self._trail.telling(("decisions_close", parameters), tell=tell)
        return tuple(row["id"] for row in rows)

    async def find(self, text: str, limit: int = 10) -> Sequence[Story]:
        """See the port. An event that the graph does not tie is looked for in the decisions of the last week."""
        if len(text) < _PREFIX:
            return ()
        rows = await self._graph.read("decisions_find", text=text, limit=limit)
        if not rows:
            since = datetime.now(UTC) - _RECENT
            rows = await self._graph.read("decisions_find_recent_event", text=text, since=since, limit=limit)
        executions = {
            story.record.id: story
            for story in await stories(self._graph, [name for row in rows for name in row["executions"]])
        }
        return tuple(
            Story(
                decision=decision_of(row["d"]),
                repeat_count=row["d"]["repeat_count"],
                last_seen=instant(row["d"]["last_seen"]),
                closed_at=moment(row["d"].get("closed_at")),
                executions=tuple(executions[name] for name in row["executions"] if name in executions),
            )
            for row in rows
        )


def _latest(group: Sequence[DecisionRecord | Repeat]) -> DecisionRecord | None:
    """The decision that stands when a batch holds several of one id; None when there are only repeats."""
    decisions = [part for part in group if isinstance(part, DecisionRecord)]
    return decisions[-1] if decisions else None


def _runbooks(decisions: Sequence[DecisionRecord]) -> list[Row]:
    used = {}
    for decision in decisions:
        if decision.execution:
            plan, known = decision.execution.plan, decision.runbook
            text = known.text if known and known.sha == plan.runbook_sha else ""
            used[plan.runbook_id, plan.runbook_sha] = plan.runbook_version, text
            used.update({(one.id, one.sha): (one.version, one.text) for one in decision.called})
    return [
        {"id": name, "sha": sha, "version": version, "text": text}
        for (name, sha), (version, text) in sorted(used.items())
    ]
