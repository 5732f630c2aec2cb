"""Runbooks for the measurements: one that is run, and any number beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

RUNBOOK = "bench-annotate"
REASON = "BenchDegraded"
"""Causes that the runbook answers begin so; each message has one of its own, which makes it an incident of its own."""


def acting() -> dict[str, Any]:
    """One harmless write with everything that a real one has: dry run, intent, stamp, outcome, proof."""
    patch = {
        "resource": "{{ incident.resource.controller_kind }}/{{ incident.resource.controller }}",
        "namespace": "{{ incident.resource.namespace }}",
        "type": "merge",
        "patch": {"metadata": {"annotations": {"bench.rootmend.dev/incident": "{{ incident.id }}"}}},
    }
    return {
        "id": RUNBOOK,
        "name": "Note the incident on the workload",
        "version": "1.0.0",
        "trigger": {"root_cause_reason": [f"{REASON}*"], "min_confidence": 0.5},
        "safety": {
            "require_approval": False,
            "max_executions_per_hour": 1_000_000,
            "blast_radius_limit": 10,
            "dry_run_first": True,
            "cooldown": "0s",
        },
        "steps": [{"id": "annotate", "name": "Annotate", "action": "kubectl_patch", "params": patch}],
        "verification": {"settle": "0.1s", "timeout": "30s", "on_not_fixed": "keep"},
    }


def filler(number: int) -> dict[str, Any]:
    """A runbook as people write them, for a reason that never comes."""
    made = acting() | {"id": f"filler-{number:04d}", "name": f"Answer number {number}", "description": "Beside others."}
    made["trigger"] = {
        "root_cause_reason": [f"Unheard{number:04d}", f"UnheardOf{number:04d}*"],
        "namespaces": [f"team-{number % 40}-*"],
        "min_confidence": 0.8,
    }
    workload = "{{ incident.resource.controller_kind }}/{{ incident.resource.controller }}"
    read = {
        "id": "read_replicas",
        "name": "Read the replicas",
        "action": "kubectl_get",
        "params": {
            "resource": workload,
            "namespace": "{{ incident.resource.namespace }}",
            "field": "spec.replicas",
        },
        "output_var": "replicas",
    }
    scale = {
        "id": "scale_up",
        "name": "Scale up",
        "action": "kubectl_scale",
        "params": {"resource": workload, "replicas": "{{ replicas | int | grow(2, 10) }}"},
    }
    rollout = {"id": "rollout", "name": "Wait", "action": "wait", "params": {"condition": "rollout complete"}}
    made["steps"] = [read, *made["steps"], scale, rollout]
    made["verification"] = {"settle": "15s", "timeout": "5m", "on_not_fixed": "rollback"}
    made["notification"] = {"on_success": {"slack": {"channel": "#ops", "message": "{{ incident.id }} is fixed"}}}
    return made


def write(folder: Path, fillers: int = 0) -> None:
    """Write the acting runbook and some others, one file each."""
    folder.mkdir(parents=True)
    for body in (acting(), *(filler(number) for number in range(fillers))):
        text = yaml.safe_dump({"runbook": body}, sort_keys=False)
        (folder / f"{body['id']}.yaml").write_text(text, encoding="utf-8")
