"""Filters that ask what was found live about the incident, instead of guessing from names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context

_OWNERS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"})


@pass_context
def extract_deployment(context: Context, name: object) -> str:
    """The workload that owns a pod, as its owner references said; never guessed from the pod's name.

    Raises:
        ValueError: it is not the incident's pod, or nothing owns it.
    """
    target, incident = context.get("target"), context.get("incident")
    facts: Mapping[str, Any] = target if isinstance(target, Mapping) else {}
    resource = incident.get("resource", {}) if isinstance(incident, Mapping) else {}
    owner, kind = str(facts.get("name", "")), str(facts.get("kind", ""))
    pods = {facts.get("pod"), resource.get("name") if resource.get("kind") == "Pod" else None} - {None, ""}
    if kind in _OWNERS and (name in pods or name == owner):
        return owner
    if name in pods:
        raise ValueError(f"the pod {name} has no controller: it would not come back")
    known = f"only that of {', '.join(sorted(map(str, pods)))}" if pods else "the incident is about no pod"
    raise ValueError(f"the owner of the pod {name} is not known here: {known}")
