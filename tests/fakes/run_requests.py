"""Requests to run a runbook, as messages for the pipeline on fakes."""

from __future__ import annotations

import json
from typing import Any

from fakes.pipeline_rig import CLUSTER, NAMESPACE, TENANT, TOPICS, Rig

from services.kafka.model import Inbound

APP = {"kind": "Deployment", "namespace": NAMESPACE, "name": "app"}


def body(rig: Rig, **changes: Any) -> dict[str, Any]:
    """A request about ``app``."""
    made = {
        "schema": "run.request/v1",
        "request_id": f"request-{len(rig.sent):04}",
        "tenant": TENANT,
        "cluster": CLUSTER,
        "runbook": {"id": "raise-memory"},
        "target": APP,
        "parameters": {},
        "requested_by": "anna",
        "reason": "it is slow",
        "source": "manual",
        "requested_at": rig.clock.now().isoformat(),
    }
    return {**made, **changes}


def ask(rig: Rig, **changes: Any) -> Inbound:
    """The request as a message."""
    return rig.raw(json.dumps(body(rig, **changes)).encode(), TOPICS.run_requests)
