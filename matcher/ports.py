"""What the matcher needs from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from matcher.model import Cause, Signal, Subject

KubeObject = Mapping[str, Any]
"""A Kubernetes object as the API server's JSON."""


class CausalGraph(Protocol):
    """Reads root causes from the graph."""

    async def causes_of(self, signals: Sequence[Signal]) -> Mapping[str, tuple[Cause, ...]]:
        """Causes of each signal by its event id, raw (``confidence`` equals ``raw_score``).

        A signal that the graph does not know, or knows no cause for, is missing from the answer. Tenants are
        filtered on the nodes.
        """
        ...

    async def controllers_of(self, subject: Subject, tenant: str) -> tuple[Subject, ...]:
        """The graph's CONTROLS chain above a subject, nearest first: a hint when the pod is gone."""
        ...


class LiveObjects(Protocol):
    """Reads the live cluster."""

    async def get(self, kind: str, name: str, namespace: str = "") -> KubeObject | None:
        """One object, or None when it does not exist."""
        ...

    async def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[KubeObject]:
        """All objects of a kind, narrowed by label and field selectors."""
        ...
