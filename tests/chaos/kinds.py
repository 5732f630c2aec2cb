"""The kinds of steps that are crashed, each with a runbook, and how often its effect may be found in the world."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes.served import runbook

HERE = {"resource": "{{ target.kind }}/{{ target.name }}", "namespace": "{{ target.namespace }}"}
ONCE, AT_MOST_ONCE, NEVER, TWICE = (1,), (0, 1), (0,), (2,)
OFTEN = range(1, 1000)

Statuses = Mapping[tuple[str, str], str]
"""Status of each step on record, by phase and step id."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of step.

    Attributes:
        reason: of its incidents, which its runbook answers.
        steps: of its runbook, given the address of the counting server and a folder for files.
        counted: where its effect is counted: ``generation`` of the Deployment, ``pods`` that its controller made anew,
            ``calls`` of the counting server, ``lines`` of a file, or ``nothing``.
        idempotent: whether its step is declared so.
        parts: of its runbook, besides.
    """

    name: str
    steps: Callable[[str, Path], list[dict[str, Any]]]
    counted: str
    idempotent: bool = False
    parts: Mapping[str, Any] | None = None
    about_pod: bool = False

    @property
    def reason(self) -> str:
        return f"Chaos{self.name.title().replace('_', '')}"

    def runbook(self, url: str, folder: Path) -> dict[str, Any]:
        """Its runbook; people are told at both ends."""
        told = {"webhook": {"url": url + "/told/{{ target.name }}-%s"}}
        moments = ("start", "success", "failure", "rollback")
        notification = {f"on_{moment}": {"webhook": {"url": told["webhook"]["url"] % moment}} for moment in moments}
        parts = {"notification": notification, **(self.parts or {})}
        return runbook(self.reason, *self.steps(url, folder), **parts)

    def allowed(self, statuses: Statuses) -> Collection[int]:
        """How often the effect may be found, given what is on record."""
        step = statuses.get(("step", "effect"), "")
        if self.counted == "nothing":
            return NEVER
        if ("undo", "effect") in statuses:
            undone = statuses["undo", "effect"] == "succeeded"
            return TWICE if undone and step == "succeeded" else (0, 1, 2)
        if step == "succeeded":
            return OFTEN if self.idempotent else ONCE
        if step in ("unknown", "failed"):
            # Nobody knows, and it says so: a human looks. It was never done twice.
            return range(1000) if self.idempotent else AT_MOST_ONCE
        return NEVER


def _effect(action: str, params: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "effect", "name": "The effect", "action": action, "params": dict(params), **more}


def _template(**more: Any) -> dict[str, Any]:
    """A change of the pod template: one more generation each time that it is made with another value."""
    patch = {"spec": {"template": {"metadata": {"annotations": {"chaos": "{{ execution.id }}"}}}}}
    return _effect("kubectl_patch", {**HERE, "type": "merge", "patch": patch}, **more)


def _scale(_: str, __: Path) -> list[dict[str, Any]]:
    return [_effect("kubectl_scale", {**HERE, "add": 1, "max": 9})]


def _vain(on_failure: str) -> dict[str, Any]:
    params = {"condition": "deployment/not-there available", "timeout": "400ms"}
    return {"id": "vain", "name": "In vain", "action": "wait", "params": params, "on_failure": on_failure}


def _hook(url: str, **more: Any) -> dict[str, Any]:
    return _effect("webhook", {"url": url + "/effect/{{ target.name }}", "timeout": 30, "body": {}}, **more)


def _command(_: str, folder: Path) -> list[dict[str, Any]]:
    return [_effect("command", {"argv": [str(folder / "note.sh"), "{{ target.name }}"]})]


def _delete(_: str, __: Path) -> list[dict[str, Any]]:
    params = {"resource": "pod", "name": "{{ incident.resource.name }}", "namespace": "{{ target.namespace }}"}
    return [_effect("kubectl_delete", {**params, "grace_seconds": 0})]


def _asking(url: str, folder: Path) -> list[dict[str, Any]]:
    return [
        {"id": "ask", "name": "Ask", "action": "manual_approval", "params": {"message": "Go on?"}},
        *_scale(url, folder),
    ]


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("patch", lambda *_: [_template()], "generation"),
        Kind("scale", _scale, "generation"),
        Kind("restart", lambda *_: [_effect("kubectl_rollout_restart", HERE)], "generation"),
        Kind("delete", _delete, "pods", about_pod=True),
        Kind("webhook", lambda url, _: [_hook(url)], "calls"),
        Kind("keyed", lambda url, _: [_hook(url, idempotent=True, description="by its key")], "calls", idempotent=True),
        Kind("command", _command, "lines"),
        Kind("wait", lambda *_: [_effect("wait", {"seconds": 1})], "nothing"),
        Kind("approval", _scale, "generation", parts={"safety": {"require_approval": True}}),
        Kind("question", _asking, "generation"),
        Kind("rollback", lambda *_: [_template(), _vain("rollback")], "generation"),
    )
}

SCRIPT = """#!/bin/sh
echo "$1" >> "$(dirname "$0")/effects"
"""
