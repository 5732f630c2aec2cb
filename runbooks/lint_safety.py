"""Checks of what a runbook may do to the world, and of the limits that keep it from doing too much."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from runbooks.findings import Finding, RunbookError
from runbooks.growth import asks_for_more
from runbooks.model import OnFailure, Step
from runbooks.names import analyse
from runbooks.sandbox import TemplateError
from runbooks.secret_refs import names_secret
from runbooks.subject import Path, Subject, texts
from runbooks.yaml_source import parse_yaml

WRITES = frozenset(
    {
        "kubectl_patch",
        "kubectl_apply",
        "kubectl_delete",
        "kubectl_scale",
        "kubectl_rollout_restart",
        "kubectl_rollout_undo",
        "kubectl_cordon",
        "kubectl_uncordon",
        "kubectl_drain",
        "kubectl_rollout_pause",
        "kubectl_rollout_resume",
        "kubectl_label",
        "kubectl_annotate",
        "kubectl_set_image",
        "kubectl_set_resources",
        "kubectl_set_env",
        "kubectl_create_job",
        "kubectl_exec",
        "webhook",
    }
)
"""Canonical names of the actions that change the world."""

_KNOWN_TARGETS = frozenset(
    {
        *("pod", "node", "deployment", "statefulset", "daemonset", "replicaset", "job", "cronjob"),
        *("po", "no", "deploy", "sts", "ds", "rs", "cj"),
    }
)
_DATA = frozenset({"persistentvolumeclaim", "pvc", "persistentvolume", "pv", "namespace", "ns"})
_CAPS = frozenset({"grow", "at_most", "ceiling", "min"})
_GROWS = frozenset({"multiply", "add"})
_WITH_CEILING = frozenset({"kubectl_scale", "kubectl_set_resources"})
"""Actions whose parameter ``max`` holds back what they set."""
_CALLS = frozenset({"webhook", "http_request", "http_post", "http_put", "http_patch", "http_delete"})
"""Calls of other programs, which nobody can take back; http_request and webhook may read as well."""

_PROGRAMS = frozenset({"kubectl_exec", "command", "script"})
_HALF = 0.5
_TOKENS = re.compile(
    r"AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30,}|xox[abprs]-[A-Za-z0-9-]{10,}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|eyJ[A-Za-z0-9_-]{10,300}\.eyJ[A-Za-z0-9_-]{10,}|://[^/\s:@{}]{1,99}:[^/\s:@{}]{1,99}@"
)
_SECRET_KEY = re.compile(
    r"(?i)(?:password|passwd|api[_-]?key|client[_-]?secret|access[_-]?token|authorization|private[_-]?key|token)"
)
_SECRET_LINE = re.compile(
    rf"""(?m)^[ \t-]*["']?(?:{_SECRET_KEY.pattern[4:]})["']?[ \t]*:[ \t]*["']?[^\s"'{{[|>&*]""", re.IGNORECASE
)
_CYPHER_WRITE = re.compile(r"(?i)\b(?:create|merge|delete|set|remove|drop|load\s+csv|foreach)\b")
_CYPHER_TEXT = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|//[^\n]*")


def check_safety(subject: Subject) -> Iterator[Finding]:
    """The runbook's limits, then each step."""
    yield from _trigger(subject)
    yield from _limits(subject)
    yield from _verification(subject)
    wrote = False
    yield from _written_out(subject)
    for path, step in subject.steps():
        yield from _step(subject, path, step)
        if wrote and path[0] == "steps":
            yield from _waits_for_pod(subject, path, step)
        wrote = wrote or _writes(subject, step)
    yield from _growth(subject)
    yield from _irreversible(subject)


def _writes(subject: Subject, step: Step) -> bool:
    name, access = subject.action_of(step), subject.access_of(step)
    if name == "sql_query":
        return step.params.get("write") is True
    return (access == "write" if access else name in WRITES) and not (name in _CALLS and _reads_only(step))


def _reads_only(step: Step) -> bool:
    return str(step.params.get("method", "POST")).upper() in {"GET", "HEAD"}


def _trigger(subject: Subject) -> Iterator[Finding]:
    trigger, safety = subject.runbook.trigger, subject.runbook.safety
    if any(not pattern.strip("*") for pattern in trigger.root_cause_reason):
        yield subject.found("RB410", "the trigger answers every root cause", ("trigger", "root_cause_reason"))
    both = set(trigger.namespaces) & set(trigger.exclude_namespaces)
    if both:
        message = f"{', '.join(sorted(both))} is in namespaces and in exclude_namespaces"
        yield subject.found("RB420", message, ("trigger", "exclude_namespaces"))
    if trigger.min_confidence < _HALF and safety.require_approval is False:
        message = f"runs alone at a confidence of {trigger.min_confidence}"
        yield subject.found("RB408", message, ("trigger", "min_confidence"))


def _limits(subject: Subject) -> Iterator[Finding]:
    safety = subject.runbook.safety
    for name in ("max_executions_per_hour", "blast_radius_limit"):
        if getattr(safety, name) == 0:
            yield subject.found("RB411", f"{name} is 0", ("safety", name))
    writes = any(_writes(subject, step) for step in subject.runbook.steps)
    if writes and not safety.dry_run_first:
        yield subject.found("RB418", "dry_run_first is off", ("safety", "dry_run_first"))


def _verification(subject: Subject) -> Iterator[Finding]:
    verification = subject.runbook.verification
    if verification.settle > verification.timeout:
        message = f"settle ({verification.settle}) is longer than timeout ({verification.timeout})"
        yield subject.found("RB415", message, ("verification", "settle"))
    if not verification.settle:
        yield subject.found("RB416", "settle is 0", ("verification", "settle"))


def _step(subject: Subject, path: Path, step: Step) -> Iterator[Finding]:
    if not step.timeout:
        yield subject.found("RB404", f"the step {step.name!r} has no time", (*path, "timeout"))
    if path[0] == "rollback" and "on_failure" in step.model_fields_set and step.on_failure is OnFailure.ROLLBACK:
        yield subject.found("RB412", "on_failure: rollback inside the rollback", (*path, "on_failure"))
    if _writes(subject, step):
        yield from _target(subject, path, step)
    if subject.action_of(step) == "check_neo4j":
        query = _CYPHER_TEXT.sub("", str(step.params.get("query", "")))
        if found := _CYPHER_WRITE.search(query):
            yield subject.found("RB421", f"the query has {found[0].upper()}", (*path, "params", "query"))
    yield from _clear_text(subject, (*path, "params"), step.params)
    yield from _clear_text(subject, (*path, "save_state"), step.save_state)


def _target(subject: Subject, path: Path, step: Step) -> Iterator[Finding]:
    resource = step.params.get("resource")
    if not isinstance(resource, str) or "name" in step.params or "/" in resource or "{{" in resource:
        return
    kind = resource.lower()
    if kind not in _KNOWN_TARGETS and kind.removesuffix("s") not in _KNOWN_TARGETS:
        message = f"{subject.action_of(step)} names no {resource}, and the incident is not about one"
        yield subject.found("RB403", message, (*path, "params", "resource"))


def _waits_for_pod(subject: Subject, path: Path, step: Step) -> Iterator[Finding]:
    condition = step.params.get("condition")
    if isinstance(condition, str) and condition.strip().lower().startswith(("pod/", "pods/")):
        message = f"{condition.strip()!r} names a pod that a step above replaces; the owner workload is followed"
        yield subject.found("RB401", message, (*path, "params", "condition"))


def _written_out(subject: Subject) -> Iterator[Finding]:
    """Secrets outside of steps: in defaults, checks, schedules and messages."""
    runbook = subject.runbook
    for index, parameter in enumerate(runbook.parameters):
        default = parameter.default
        if isinstance(default, str) and default and names_secret(parameter.name) and not _names_object(parameter.name):
            yield subject.found("RB406", f"{parameter.name} is written out", ("parameters", index, "default"))
        yield from _clear_text(subject, ("parameters", index, "default"), default)
    for index, schedule in enumerate(runbook.trigger.schedule):
        yield from _clear_text(subject, ("trigger", "schedule", index, "parameters"), schedule.parameters)
    checks: tuple[tuple[Path, Any], ...] = (
        (("preconditions",), runbook.preconditions),
        (("assumptions",), runbook.assumptions),
        (("verification", "success_criteria"), runbook.verification.success_criteria),
    )
    for path, listed in checks:
        for index, check in enumerate(listed):
            yield from _clear_text(subject, (*path, index, "params"), check.params)
    yield from _clear_text(subject, ("notification",), runbook.notification.model_dump(exclude_none=True))


def _names_object(parameter: str) -> bool:
    """Whether a parameter is rather the name of a Secret than what is in it."""
    name = parameter.lower()
    return name.endswith("secret") and not name.endswith("client_secret")


def _clear_text(subject: Subject, path: Path, value: Any) -> Iterator[Finding]:
    if isinstance(value, str):
        if _TOKENS.search(value) or _SECRET_LINE.search(value) or _secret_manifest(value):
            yield subject.found("RB406", "this looks like a secret in clear text", path)
    elif isinstance(value, Mapping):
        if value.get("kind") == "Secret" and (part := _literal_data(value)):
            yield subject.found("RB406", "a Secret's data is written out", (*path, part))
        for key, item in value.items():
            literal = isinstance(item, str) and item and "{{" not in item
            if literal and _SECRET_KEY.fullmatch(str(key)):
                yield subject.found("RB406", f"{key} is written out", (*path, key))
            else:
                yield from _clear_text(subject, (*path, key), item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _clear_text(subject, (*path, index), item)


def _secret_manifest(text: str) -> bool:
    if "Secret" not in text or "ata:" not in text:
        return False
    try:
        manifest = parse_yaml(text).value
    except RunbookError:
        return False  # a template that is no YAML before it is rendered
    return isinstance(manifest, Mapping) and manifest.get("kind") == "Secret" and bool(_literal_data(manifest))


def _literal_data(manifest: Mapping[str, Any]) -> str:
    """The part of a Secret that is written out; empty when none is."""
    for part in ("data", "stringData"):
        data = manifest.get(part)
        if isinstance(data, Mapping) and any(item and "{{" not in str(item) for item in data.values()):
            return part
    return ""


def _growth(subject: Subject) -> Iterator[Finding]:
    """Writes of values that a calculation made larger, with nothing that holds them back."""
    growing: set[str] = set()
    for index, step in enumerate(subject.runbook.steps):
        path: Path = ("steps", index)
        if _endless(subject, step):
            yield subject.found("RB402", f"{step.action} is told to add, and not where to stop", (*path, "params"))
        for text in texts(step.params, (*path, "params")):
            if not _grows(text.text, growing):
                continue
            if subject.action_of(step) == "calculate" and step.output_var:
                growing.add(step.output_var)
            elif _changes_objects(subject, step) and not _held(subject, step, text.path):
                yield subject.found("RB402", "the value grows with every run", text.path)


def _endless(subject: Subject, step: Step) -> bool:
    """Whether the action itself is told to make something larger, without its ceiling for each part of it."""
    if subject.action_of(step) not in _WITH_CEILING or not asks_for_more(step.params):
        return False
    by, ceiling = step.params.get("multiply"), step.params.get("max")
    if isinstance(by, Mapping) and isinstance(ceiling, Mapping):
        return not {name for name, factor in by.items() if asks_for_more({"multiply": factor})} <= ceiling.keys()
    return ceiling is None


def _changes_objects(subject: Subject, step: Step) -> bool:
    return _writes(subject, step) and subject.action_of(step) not in _CALLS


def _held(subject: Subject, step: Step, path: Path) -> bool:
    """Whether a ceiling of the step holds back what stands here; one that grows itself holds nothing."""
    return subject.action_of(step) in _WITH_CEILING and "max" in step.params and path[3] != "max"


def _grows(text: str, growing: set[str]) -> bool:
    try:
        analysis = analyse(text)
    except TemplateError:
        return False  # reported with the names
    if analysis.filters & _CAPS:
        return False
    calculates = analysis.arithmetic or bool(analysis.filters & _GROWS)
    return (calculates and bool(analysis.uses)) or any(use.path[0] in growing for use in analysis.uses)


def _irreversible(subject: Subject) -> Iterator[Finding]:
    runbook = subject.runbook
    written = runbook.rollback.steps or any(trigger.run for trigger in runbook.rollback.triggers)
    for index, step in enumerate(runbook.steps):
        if not _cannot_be_undone(subject, step):
            continue
        path: Path = ("steps", index, "action")
        if runbook.safety.require_approval is False and step.require_approval is False:
            yield subject.found("RB407", f"{step.action} cannot be undone, and nobody is asked", path)
        if not written:
            yield subject.found("RB405", f"{step.action} has no inverse, and there is no rollback", path)


def _cannot_be_undone(subject: Subject, step: Step) -> bool:
    name = subject.action_of(step)
    kind = str(step.params.get("resource", "")).partition("/")[0].lower()
    if name == "kubectl_create_job":
        return "manifest" in step.params
    if name in _CALLS or name == "sql_query":
        return _writes(subject, step)
    return name in _PROGRAMS or (name == "kubectl_delete" and kind in _DATA)
