"""Recorded incidents made up by the hundred thousand, planned by the real planner, for measuring the backtest."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import typer
from pydantic import TypeAdapter

from executor.actions import default_actions
from executor.actions.base import World
from executor.planner import Planner
from matcher.fingerprint import decision_id, execution_id, fingerprint, incident_id
from matcher.model import Cause, Incident, Match, Origin, Signal, SignalStatus, Subject, Target
from runbooks.loader import load_text
from runbooks.model import LoadedRunbook
from services.clock import SystemClock
from services.testing.backtest import Setup, compare, opened, propose_all
from services.testing.history import HistoryWriter, read_lines
from services.testing.proposing import Knobs

START = datetime(2026, 1, 1, tzinfo=UTC)
MEMORY = ("128Mi", "256Mi", "512Mi", "1Gi")
RUNBOOK = """
runbook:
  id: raise-memory
  version: VERSION
  trigger: {root_cause_reason: OOMKilled, min_confidence: 0.8}
  safety: {require_approval: false, max_executions_per_hour: PER_HOUR, blast_radius_limit: 10, cooldown: 10m}
  parameters: [{name: max_memory, type: quantity, default: 4Gi}]
  steps:
    - id: read
      name: Read the limit
      action: kubectl_get
      params:
        resource: "{{ incident.resource.controller_kind }}/{{ incident.resource.controller }}"
        field: "spec.template.spec.containers[name=app].resources.limits.memory"
      output_var: current
    - id: calculate
      name: Grow it
      action: calculate
      params:
        expression: "{{ current | parse_memory | grow(FACTOR, params.max_memory) }}"
      output_var: wanted
    - id: raise
      name: Raise the limit
      action: kubectl_patch
      params:
        resource: "{{ incident.resource.controller_kind }}/{{ incident.resource.controller }}"
        patch:
          spec:
            template:
              spec:
                containers:
                  - name: app
                    resources:
                      limits:
                        memory: "{{ wanted }}"
  verification: {settle: 15s, timeout: 5m}
"""


def runbook_text(version: str = "1.0.0", *, factor: int = 2, per_hour: int = 200) -> str:
    """The runbook of the bench, as a file."""
    values = {"VERSION": version, "FACTOR": str(factor), "PER_HOUR": str(per_hour)}
    text = RUNBOOK
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def runbook(version: str = "1.0.0", *, factor: int = 2, per_hour: int = 200) -> LoadedRunbook:
    """The runbook of the bench, loaded."""
    return load_text(runbook_text(version, factor=factor, per_hour=per_hour))


def incident_at(number: int, chance: random.Random) -> Incident:
    """One incident; every 20 seconds comes another one."""
    at = START + timedelta(seconds=20 * number)
    name = f"shop-{chance.randrange(2000):04d}"
    reason = chance.choices(("OOMKilled", "ImagePullBackOff", "NodeNotReady"), (8, 1, 1))[0]
    subject = Subject("Pod", f"{name}-7d9f-abcde", "shop", f"uid-{number}")
    target = Target("prod", "Deployment", name, "shop", f"uid-{name}", "app", subject.name, resolved_by="owner")
    signal = Signal(
        event_id=f"event-{number}", tenant="acme", cluster="prod", reason="KubePodCrashLooping", severity="critical",
        status=SignalStatus.FIRING, subject=subject, event_time=at, shape="alertmanager", alert_key=f"key-{number}",
        origin=Origin("alerts", 0, number), message="container app keeps being killed", labels={"team": "shop"},
    )  # fmt: skip
    cause = Cause(f"cause-{number}", reason, subject, 0.9, "kgroot-live", round(chance.uniform(0.7, 0.95), 3), 1)
    problem = fingerprint("acme", "prod", reason, target.key)
    return Incident(incident_id("acme", problem, at), problem, "acme", "prod", signal, cause, target, at, at)


class Shop:
    """The cluster as it was: every deployment with its memory limit."""

    def __init__(self, memory: str) -> None:
        self._memory = memory

    async def get(self, kind: str, name: str, namespace: str = "") -> Any:
        containers = [{"name": "app", "image": "shop:1", "resources": {"limits": {"memory": self._memory}}}]
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": "7"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": name}}, "template": template},
            "status": {"replicas": 3, "readyReplicas": 3},
        }

    async def patch(self, ref: Any, body: Any, *, how: str, **_: Any) -> Any:
        from services.testing.merging import patched  # noqa: PLC0415 - only the bench needs it here

        return patched(await self.get(ref.kind, ref.name, ref.namespace), body, how)


class Recorder:
    """Makes recorded incidents. Plans come from the real planner, once for each size of memory, with names put in."""

    def __init__(self) -> None:
        self._used = runbook()
        self._plans: dict[str, str] = {}
        self._adapter = TypeAdapter(Incident)

    def line(self, number: int, chance: random.Random) -> dict[str, Any]:
        """One incident as the exporter writes it."""
        incident = incident_at(number, chance)
        raw = self._adapter.dump_python(incident, mode="json")
        answered = incident.cause.reason == "OOMKilled"
        permitted = answered and incident.cause.confidence >= 0.8
        kind = "permit" if permitted else "refusal" if answered else "no_match"
        used = {"id": "raise-memory", "version": "1.0.0", "sha": self._used.sha} if answered else None
        return {
            "id": incident.id, "decision": decision_id("acme", incident.id), "kind": kind, "attempt": 1,
            "decided_at": incident.opened_at.isoformat(), "closed_at": None,
            "check": "" if permitted else "confidence" if answered else "select",
            "message": "", "numbers": {"blast_radius": 3, "blast_graph": 3, "blast_live": 3} if permitted else {},
            "inputs": 1, "runbook": used, "incident": raw,
            "executions": [self._execution(incident, chance)] if permitted else [],
        }  # fmt: skip

    def _execution(self, incident: Incident, chance: random.Random) -> dict[str, Any]:
        at, took = incident.opened_at, chance.uniform(20, 120)
        number = execution_id(incident.id, self._used.sha, 1)
        text = self._plan(chance.choice(MEMORY), incident)
        for old, new in (("NAME", incident.target.name), ("POD", incident.target.pod)):
            text = text.replace(old, new)
        return {
            "id": number, "status": "done", "outcome": "success", "verdict": "verified", "error": "", "attempt": 1,
            "cooldown_seconds": 600.0, "requested_at": at.isoformat(), "started_at": at.isoformat(),
            "verify_from": at.isoformat(), "finished_at": (at + timedelta(seconds=took)).isoformat(),
            "plan": json.loads(text), "record": {"id": number, "incident": {}}, "evidence": [], "actions_taken": [],
            "steps": [], "approvals": [],
        }  # fmt: skip

    def _plan(self, memory: str, incident: Incident) -> str:
        if memory not in self._plans:
            subject = replace(incident.cause.subject, name="POD")
            target = replace(incident.target, name="NAME", pod="POD")
            cause = replace(incident.cause, subject=subject)
            match = Match(replace(incident, target=target, cause=cause), self._used, ())
            nobody: Any = None
            world = World(Shop(memory), nobody, nobody, nobody, nobody, SystemClock())  # type: ignore[arg-type]
            plan = asyncio.run(Planner(default_actions(), world, {}).plan(match, "execution"))
            self._plans[memory] = plan.model_dump_json()
        return self._plans[memory]


def write(path: Path, count: int) -> None:
    """A file of recorded incidents."""
    chance, recorder = random.Random(7), Recorder()  # noqa: S311 - the same numbers each time
    with HistoryWriter(path) as file:
        file.runbook({"id": "raise-memory", "version": "1.0.0", "sha": runbook().sha, "text": runbook_text()})
        for number in range(count):
            file.incident(recorder.line(number, chance))


def main(count: int = 100_000) -> None:
    """Measure the backtest of a runbook whose plans all change, and of one that only has other limits."""
    from safety.policy import PolicySettings  # noqa: PLC0415 - only when it runs

    path = Path(f"/tmp/incidents-{count}.jsonl.gz")  # noqa: S108 - a bench on one's own machine
    if not path.exists():
        began = time.perf_counter()
        write(path, count)
        typer.echo(f"made {count} incidents in {time.perf_counter() - began:.1f} s, {path.stat().st_size / 1e6:.0f} MB")
    knobs = Knobs(PolicySettings(), timedelta(minutes=10), {})
    for name, changed in (("other plans", runbook("1.1.0", factor=3)), ("the same", runbook())):
        began, spent = time.perf_counter(), _cpu()
        head, lines = opened(read_lines(path))
        result = compare(propose_all(lines, Setup((changed,), head.versions, knobs)), knobs.policy, head)
        wall, cpu = time.perf_counter() - began, _cpu() - spent
        told = {kind: found for kind, found in result.counts().items() if found}
        typer.echo(f"{name}: {result.incidents} in {wall:.1f} s ({cpu:.1f} s of CPU); {told}")


def _cpu() -> float:
    """CPU time of this process and of its ended children."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
