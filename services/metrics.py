"""Prometheus metrics, hung on the hooks of the core.

The ``runbook_*`` family has the names, labels and buckets that existing dashboards for automated runbooks expect; the
``rootmend_*`` family tells of the pipeline itself. docs/metrics.md is written from this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client import generate_latest as _render
from prometheus_client.metrics import MetricWrapperBase

from services.hooks import MultiHooks

__all__ = ["CONTENT_TYPE", "EVENTS", "METRICS", "Metric", "Metrics", "MultiHooks"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_MINUTES = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
_LONGEST_LABEL = 64


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as it is declared and documented. Buckets make it a histogram, in seconds."""

    name: str
    kind: type[Counter | Gauge | Histogram]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS: tuple[Metric, ...] = (
    Metric(
        "runbook_executions_total",
        Counter,
        "Executions that ended",
        ("runbook_name", "trigger_type", "outcome"),
    ),
    Metric("runbook_steps_total", Counter, "Steps that ended", ("runbook_name", "step_name", "status")),
    Metric("runbook_execution_duration_seconds", Histogram, "From first step to outcome", ("runbook_name",), _MINUTES),
    Metric(
        "runbook_step_duration_seconds",
        Histogram,
        "Time spent in one step, its retries included",
        ("runbook_name", "step_name", "step_type"),
        (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
    ),
    Metric(
        "runbook_approval_wait_seconds",
        Histogram,
        "From asking a human to the answer",
        ("runbook_name", "step_name"),
        (60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0),
    ),
    Metric("runbook_approvals_total", Counter, "Approvals, by how they were answered", ("runbook_name", "decision")),
    Metric("runbook_rollbacks_total", Counter, "Rollbacks that ended", ("runbook_name", "reason", "success")),
    Metric(
        "runbook_kpis_total",
        Counter,
        "Promises of runbooks that an execution kept (met=true) or broke",
        ("runbook_name", "kpi", "met"),
    ),
    Metric("runbook_active_executions", Gauge, "Executions that run in this process now", ("runbook_name",)),
    Metric("rootmend_kafka_lag", Gauge, "Messages behind the end of the partition", ("topic", "partition")),
    Metric("rootmend_inputs_total", Counter, "Signals read, by the shape they came in", ("topic", "shape")),
    Metric("rootmend_dead_letters_total", Counter, "Messages that could not be read and went to the DLQ", ("error",)),
    Metric("rootmend_decisions_total", Counter, "Decisions, by kind and the check that decided", ("kind", "check")),
    Metric(
        "rootmend_gate_seconds",
        Histogram,
        "One call of the gate, for a whole batch of requests",
        (),
        (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
    ),
    Metric(
        "rootmend_rca_to_first_step_seconds",
        Histogram,
        "From the root cause being known to the first step",
        (),
        (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
    ),
    Metric(
        "rootmend_time_to_verified_seconds",
        Histogram,
        "From the signal to a verified fix",
        (),
        (*_MINUTES, 3600.0),
    ),
    Metric("rootmend_runbook_metric", Gauge, "Numbers that runbooks publish, the last of each", ("runbook", "name")),
    Metric(
        "rootmend_unreadable_records_total",
        Counter,
        "Records of the graph that could not be read, each counted once",
        ("kind",),
    ),
    Metric("rootmend_waiting_approvals", Gauge, "Approvals that wait for an answer"),
    Metric("rootmend_runbooks_loaded", Gauge, "Runbooks in force"),
    Metric("rootmend_runbooks_rejected", Gauge, "Runbook files that were refused and are not in force as they stand"),
    Metric("rootmend_dependency_up", Gauge, "1 when the dependency answered the last check, else 0", ("name",)),
    Metric("rootmend_secret_readable", Gauge, "1 when the last look could fetch the secret, else 0", ("secret",)),
    Metric("rootmend_secret_rotations_total", Counter, "Rotations that were noticed", ("secret",)),
    Metric("rootmend_secret_expires_seconds", Gauge, "Until the secret runs out, as of the last look", ("secret",)),
    Metric(
        "rootmend_storms_total", Counter, "Scopes that a storm has stopped or let go on", ("axis", "counted", "change")
    ),
    Metric("rootmend_storm_held_back_total", Counter, "Refusals and messages left to a storm's summary", ("kind",)),
    Metric("rootmend_storm_calls_total", Counter, "Calls to people about a storm", ("way", "outcome")),
    Metric("rootmend_build_info", Gauge, "Always 1; the version is the label", ("version",)),
)

EVENTS: Mapping[str, str] = {
    "execution.started": "execution, runbook, trigger_type",
    "execution.resumed": "execution, runbook (taken over after a crash, or after a hand-over)",
    "step.started": "runbook, step, action",
    "step.finished": "runbook, step, action, status, seconds",
    "execution.finished": "execution, runbook, trigger_type, outcome, verdict, seconds",
    "execution.suspended": "execution, runbook (it left this process without an outcome: lease lost, shutdown)",
    "execution.rolling_back": "runbook, reason",
    "rollback.finished": "runbook, reason, success",
    "kpi.measured": "runbook, kpi, met",
    "approval.requested": "runbook, step",
    "approval.answered": "runbook, step, decision, seconds",
    "approvals.waiting": "count",
    "input.received": "topic, shape, count",
    "input.dead": "error",
    "decision": "kind, check",
    "gate.asked": "seconds, count",
    "first_step": "seconds",
    "verified": "seconds",
    "lag": "topic, partition, value",
    "runbook.metric": "runbook, metric, value (published by metrics_publish)",
    "runbooks.loaded": "loaded, rejected",
    "secret.checked": "secret_name, readable, rotated, seconds_left (none: it does not run out)",
    "storm.opened": "axis, counted",
    "storm.closed": "axis, counted",
    "storm.held_back": "kind, count",
    "storm.told": "way, outcome",
    "record.unreadable": "kind",
    "dependency": "dependency, up",
}
"""Events that the metrics listen to, with their facts. Other events and facts are ignored."""


def product_version() -> str:
    """The installed version."""
    try:
        return version("rootmend")
    except PackageNotFoundError:
        return "unknown"


class Metrics:
    """Hooks that count, on a registry of their own: two of them in one process never meet."""

    def __init__(self) -> None:
        # The creation time of each series says nothing here and would double the page.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it unannotated
        self.registry = CollectorRegistry()
        self._by_name = {metric.name: _make(metric, self.registry) for metric in METRICS}
        self._set("rootmend_build_info", 1, version=product_version())
        self._active: set[str] = set()
        self._handlers: Mapping[str, Callable[[Mapping[str, Any]], None]] = dict(self._handling())

    def event(self, name: str, **facts: Any) -> None:
        """Count what happened. What is unknown, or lacks its facts, is ignored: counting must not stop a fix."""
        handler = self._handlers.get(name)
        if handler is None:
            return
        try:
            handler(facts)
        except (KeyError, TypeError, ValueError, ArithmeticError):
            return

    def render(self) -> bytes:
        """The page that Prometheus reads."""
        return _render(self.registry)

    def _handling(self) -> Iterator[tuple[str, Callable[[Mapping[str, Any]], None]]]:
        yield "execution.started", self._execution_entered
        yield "execution.resumed", self._execution_entered
        yield "execution.suspended", self._execution_left
        yield "execution.finished", self._execution_finished
        yield "step.finished", self._step_finished
        yield "approval.answered", self._approval_answered
        yield "rollback.finished", self._rollback_finished
        yield "kpi.measured", self._kpi_measured
        yield "approvals.waiting", lambda f: self._set("rootmend_waiting_approvals", f["count"])
        yield (
            "input.received",
            lambda f: self._add("rootmend_inputs_total", f.get("count", 1), topic=f["topic"], shape=f["shape"]),
        )
        yield "input.dead", lambda f: self._add("rootmend_dead_letters_total", 1, error=f["error"])
        yield "decision", lambda f: self._add("rootmend_decisions_total", 1, kind=f["kind"], check=f.get("check", ""))
        yield "gate.asked", lambda f: self._observe("rootmend_gate_seconds", f["seconds"])
        yield "first_step", lambda f: self._observe("rootmend_rca_to_first_step_seconds", f["seconds"])
        yield "verified", lambda f: self._observe("rootmend_time_to_verified_seconds", f["seconds"])
        yield (
            "lag",
            lambda f: self._set("rootmend_kafka_lag", f["value"], topic=f["topic"], partition=f["partition"]),
        )
        yield (
            "runbook.metric",
            lambda f: self._set("rootmend_runbook_metric", f["value"], runbook=f["runbook"], name=f["metric"]),
        )
        yield "runbooks.loaded", self._runbooks_loaded
        yield "secret.checked", self._secret_checked
        for change in ("opened", "closed"):
            yield f"storm.{change}", partial(self._storm, change)
        yield (
            "storm.held_back",
            lambda f: self._add("rootmend_storm_held_back_total", f["count"], kind=f["kind"]),
        )
        yield "record.unreadable", lambda f: self._add("rootmend_unreadable_records_total", 1, kind=f["kind"])
        yield "storm.told", lambda f: self._add("rootmend_storm_calls_total", 1, way=f["way"], outcome=f["outcome"])
        yield "dependency", lambda f: self._set("rootmend_dependency_up", 1 if f["up"] else 0, name=f["dependency"])

    def _execution_entered(self, facts: Mapping[str, Any]) -> None:
        runbook, execution = facts["runbook"], facts["execution"]
        if execution not in self._active:  # told twice it is still one
            self._active.add(execution)
            self._add("runbook_active_executions", 1, runbook_name=runbook)

    def _execution_left(self, facts: Mapping[str, Any]) -> None:
        if facts["execution"] in self._active:
            self._active.remove(facts["execution"])
            self._add("runbook_active_executions", -1, runbook_name=facts["runbook"])

    def _execution_finished(self, facts: Mapping[str, Any]) -> None:
        runbook = facts["runbook"]
        self._execution_left(facts)
        self._add(
            "runbook_executions_total",
            1,
            runbook_name=runbook,
            trigger_type=facts.get("trigger_type", ""),
            outcome=facts["outcome"],
        )
        if facts.get("seconds") is not None:
            self._observe("runbook_execution_duration_seconds", facts["seconds"], runbook_name=runbook)

    def _step_finished(self, facts: Mapping[str, Any]) -> None:
        runbook, step = facts["runbook"], facts["step"]
        self._add("runbook_steps_total", 1, runbook_name=runbook, step_name=step, status=facts["status"])
        if facts.get("seconds") is not None:
            self._observe(
                "runbook_step_duration_seconds",
                facts["seconds"],
                runbook_name=runbook,
                step_name=step,
                step_type=facts.get("action", ""),
            )

    def _approval_answered(self, facts: Mapping[str, Any]) -> None:
        runbook = facts["runbook"]
        self._add("runbook_approvals_total", 1, runbook_name=runbook, decision=facts["decision"])
        if facts.get("seconds") is not None:
            step = facts.get("step", "")
            self._observe("runbook_approval_wait_seconds", facts["seconds"], runbook_name=runbook, step_name=step)

    def _rollback_finished(self, facts: Mapping[str, Any]) -> None:
        success = "true" if facts["success"] else "false"
        self._add(
            "runbook_rollbacks_total",
            1,
            runbook_name=facts["runbook"],
            reason=facts.get("reason", "unknown"),
            success=success,
        )

    def _kpi_measured(self, facts: Mapping[str, Any]) -> None:
        met = "true" if facts["met"] else "false"
        self._add("runbook_kpis_total", 1, runbook_name=facts["runbook"], kpi=facts["kpi"], met=met)

    def _secret_checked(self, facts: Mapping[str, Any]) -> None:
        name = facts["secret_name"]
        self._set("rootmend_secret_readable", 1 if facts["readable"] else 0, secret=name)
        self._add("rootmend_secret_rotations_total", 1 if facts["rotated"] else 0, secret=name)
        if facts.get("seconds_left") is not None:
            self._set("rootmend_secret_expires_seconds", facts["seconds_left"], secret=name)

    def _storm(self, change: str, facts: Mapping[str, Any]) -> None:
        self._add("rootmend_storms_total", 1, axis=facts["axis"], counted=facts["counted"], change=change)

    def _runbooks_loaded(self, facts: Mapping[str, Any]) -> None:
        self._set("rootmend_runbooks_loaded", facts["loaded"])
        self._set("rootmend_runbooks_rejected", facts.get("rejected", 0))

    def _add(self, metric: str, amount: float, **labels: object) -> None:
        self._of(metric, labels).inc(amount)

    def _set(self, metric: str, value: float, **labels: object) -> None:
        self._of(metric, labels).set(value)

    def _observe(self, metric: str, seconds: float, **labels: object) -> None:
        # Clocks of two machines may disagree by a little; a negative time would corrupt the sum.
        self._of(metric, labels).observe(max(float(seconds), 0.0))

    def _of(self, metric: str, labels: Mapping[str, object]) -> Any:
        child = self._by_name[metric]
        return child.labels(**{name: _label(value) for name, value in labels.items()}) if labels else child


def _make(metric: Metric, registry: CollectorRegistry) -> MetricWrapperBase:
    if metric.kind is Histogram:
        return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=registry)
    return metric.kind(metric.name, metric.help, metric.labels, registry=registry)


def _label(value: object) -> str:
    """Labels stay short and on one line: a whole error message would make a series of its own each time."""
    text = str(value.value if hasattr(value, "value") else value)
    return text.partition("\n")[0][:_LONGEST_LABEL]
