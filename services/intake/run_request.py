"""``run.request/v1``: a runbook that is asked for by name, and how it becomes a signal.

Unlike what other writers send, this contract is ours and strict: a field that nobody knows may be a misspelt
``dry_run``, and ignoring it would run what should only have been shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from pydantic import Field

from matcher.fingerprint import run_key
from matcher.kinds import canonical_kind
from matcher.model import Asked, Origin, Received, Run, Signal, SignalStatus
from matcher.named import REASON
from services.intake.contracts import Outbound
from services.intake.errors import ErrorCode, Unreadable
from services.intake.fields import NOBODY, Envelope, read_cluster, read_message, read_subject, read_tenant, read_time
from services.intake.shapes import checked

SCHEMA = "run.request/v1"
REQUEST_ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]{7,127}$"
"""8 to 128 letters, digits and ``. _ : -``; it becomes a key."""

_RUNBOOK = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
_SHAPE = "run_request"


class RunTarget(Outbound):
    """What the runbook acts on; a pod leads to the workload that owns it."""

    kind: str = Field(min_length=1, max_length=63, description="Deployment, StatefulSet, Pod, Node, ...")
    name: str = Field(min_length=1, max_length=253)
    namespace: str = Field("", max_length=63, description="Empty for nodes")

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


class RunbookChoice(Outbound):
    """Which runbook."""

    id: str = Field(pattern=_RUNBOOK)
    version: str = Field("", max_length=64, description="Empty: the one in force; another one refuses the request")


class RunRequest(Outbound):
    """A runbook that is asked for by name (`remediation.run-requests`, keyed by `request_id`)."""

    schema_: Literal["run.request/v1"] = Field("run.request/v1", alias="schema")
    request_id: str = Field(pattern=REQUEST_ID, description="Sent again, it is the same request and runs once")
    tenant: str = Field("", description="Empty: that of the headers, else the default")
    cluster: str = Field("", description="As tenant")
    runbook: RunbookChoice
    target: RunTarget | None = Field(None, description="Null: the runbook acts on no workload")
    parameters: Mapping[str, Any] = Field({}, max_length=100, description="By name; no secrets: they are recorded")
    requested_by: str = Field(min_length=1, max_length=256, description="Who asks, as the sender claims it")
    reason: str = Field("", max_length=2000, description="Why, for the record")
    source: Literal["manual", "api", "schedule"]
    requested_at: datetime
    dry_run: bool = Field(False, strict=True, description="Only decide what would be done")

    @property
    def key(self) -> str:
        """Of the message: one partition sees all copies of a request."""
        return self.request_id


def new_request_id() -> str:
    """An id for a request whose sender gave none."""
    return f"run-{uuid4()}"


def run_request(
    runbook: str, *, by: str, source: Asked, at: datetime, target: RunTarget | None = None, **more: Any
) -> RunRequest:
    """A request, checked as intake will check it.

    Args:
        runbook: id of the runbook.
        by: who asks.
        source: how they ask.
        at: the time of asking.
        target: what to act on.
        more: the other fields, as they are called; a missing ``request_id`` is made.

    Raises:
        ValidationError: a field is wrong.
        Unreadable: the target is no Kubernetes object.
    """
    fields = {"request_id": new_request_id(), **{name: value for name, value in more.items() if value is not None}}
    choice = RunbookChoice(id=runbook, version=fields.pop("version", ""))
    if target is not None:
        subject = read_subject(target.kind, target.name, target.namespace, None, "target")
        target = RunTarget(kind=subject.kind, name=subject.name, namespace=subject.namespace)
    return RunRequest(runbook=choice, target=target, requested_by=by, source=source.value, requested_at=at, **fields)


def parse_target(text: str) -> RunTarget:
    """``Deployment/shop/cart`` or ``Node/worker-1`` as a target.

    Raises:
        ValueError: it is neither.
    """
    parts = [part.strip() for part in text.split("/")]
    if not all(parts) or len(parts) not in (2, 3):
        raise ValueError(f"{text!r} is no target: write KIND/NAMESPACE/NAME, or Node/NAME")
    kind, namespace, name = parts if len(parts) == 3 else (parts[0], "", parts[1])  # noqa: PLR2004 - with a namespace
    if not namespace and canonical_kind(kind) != "Node":
        raise ValueError(f"{text!r} lacks its namespace: write {kind}/NAMESPACE/{name}")
    return RunTarget(kind=canonical_kind(kind), namespace=namespace, name=name)


def from_run_request(data: Mapping[str, Any], origin: Origin, envelope: Envelope) -> Received:
    """The request as a signal that is its own cause."""
    asked = checked(RunRequest, data)
    subject = NOBODY
    if asked.target is not None:
        subject = read_subject(asked.target.kind, asked.target.name, asked.target.namespace, None, "target")
    tenant, cluster = read_tenant(asked.tenant, envelope), read_cluster(asked.cluster, envelope)
    if not (asked.requested_by.isprintable() and asked.requested_by.strip()):
        raise Unreadable(ErrorCode.BAD_SHAPE, "requested_by: not a printable name")
    run = Run(
        runbook=asked.runbook.id,
        source=Asked(asked.source),
        version=asked.runbook.version,
        targeted=asked.target is not None,
        parameters=asked.parameters,
        by=asked.requested_by,
        reason=asked.reason,
        dry_run=asked.dry_run,
    )
    signal = Signal(
        event_id=asked.request_id,
        tenant=tenant,
        cluster=cluster,
        reason=REASON,
        severity="INFO",
        status=SignalStatus.FIRING,
        subject=subject,
        event_time=read_time(asked.requested_at.isoformat(), envelope, "requested_at") or envelope.received_at,
        shape=_SHAPE,
        alert_key=run_key(tenant, cluster, asked.request_id),
        origin=origin,
        message=read_message(f"asked for by {run.by} ({run.source})" + f": {run.reason}" * bool(run.reason), envelope),
        # Whoever may write to the topic may write any name: it is recorded as what it is.
        labels={"runbook": run.runbook, "requested_by": run.by, "identity": "claimed", "source": run.source.value},
        received_at=envelope.received_at,
        run=run,
    )
    return Received(signal, None, tuple(envelope.notes))
