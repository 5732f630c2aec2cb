"""runbooks/v1: the dialect with ``apiVersion: runbooks/v1``, actions as type and action, and approval workflows."""

from __future__ import annotations

from collections.abc import Mapping

from runbooks.dialects.names import Names, identifier
from runbooks.dialects.tree import Made, Node, grown
from runbooks.dialects.v1_names import NOTE_CONTEXT, expression
from runbooks.dialects.v1_rules import approvals, preconditions, rollback
from runbooks.dialects.v1_steps import V1, steps_of

PASSED = ("safety", "verification", "notification", "kpis", "assumptions", "timeout")
"""Keys of the canonical form that may stand in the file as they are."""

_PARAMETER_TYPES = ("string", "integer", "number", "boolean", "quantity", "duration", "list", "object")
_TYPES: Mapping[str, str] = {
    **{name: name for name in _PARAMETER_TYPES},
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "array": "list",
    "map": "object",
}
_FIELDS: Mapping[str, tuple[str, str]] = {
    "namespace": ("namespaces", "exclude_namespaces"),
    "severity": ("severity", ""),
    "cluster": ("cluster", ""),
    "tenant": ("tenant", ""),
}
"""Fields of alert conditions that the trigger has keys for: one for the wanted values, one for the unwanted."""

_IN = {"in": True, "equals": True, "eq": True, "==": True, "notIn": False, "notEquals": False, "ne": False, "!=": False}
_COMPARED = {"greaterThan": ">", "gt": ">", "lessThan": "<", "lt": "<", "gte": ">=", "lte": "<="}
_ALERT_SOURCES = frozenset({"prometheus", "alertmanager"})


def translate_v1(top: Node) -> Made:
    """The canonical body of a file."""
    top.asked.update({"apiVersion", "kind"})
    names = _names(top)
    body: dict[str, Made] = {}
    _metadata(top, body)
    _trigger(top, names, body)
    if (node := top.take("preconditions")) is not None:
        body["preconditions"] = preconditions(node, names)
    for key in PASSED:
        if (node := top.take(key)) is not None:
            body[key] = node.copy()
    steps = top.take("steps")
    if steps is not None:
        body["steps"] = steps_of(steps, names, ("steps",))
    body.update(approvals(top, names))
    body.update(rollback(top, names, body.get("steps")))
    _parameters(top, names, body)
    _asks_for_itself(top, body)
    top.finish(V1)
    return top.made(body)


def _names(top: Node) -> Names:
    names = Names()
    value = top.value
    for one in value.get("parameters") or ():
        if isinstance(one, Mapping) and "name" in one:
            names.parameters.add(str(one["name"]))
    for step in _all_steps(value):
        if isinstance(step, Mapping) and "name" in step:
            names.steps[str(step["name"])] = identifier(str(step["name"]))
            if variable := step.get("saveOutput"):
                names.variables.add(str(variable))
    return names


def _all_steps(value: Mapping[str, object]) -> list[object]:
    """Steps of the runbook and of its procedures, as far as the file has the right shape."""
    found: list[object] = []
    steps = value.get("steps")
    found += steps if isinstance(steps, list) else []
    back = value.get("rollback")
    procedures = back.get("procedures") if isinstance(back, Mapping) else None
    for procedure in procedures if isinstance(procedures, list) else []:
        inner = procedure.get("steps") if isinstance(procedure, Mapping) else None
        found += inner if isinstance(inner, list) else []
    return found


def _metadata(top: Node, body: dict[str, Made]) -> None:
    node = top.take("metadata")
    if node is None:
        top.wrong("RB103", "the file has no metadata", advice="add metadata: with a name")
        return
    if not node.is_mapping():
        return
    keys = {
        "name": "id",
        "title": "name",
        "displayName": "name",
        "version": "version",
        "owner": "author",
        "type": "type",
        "description": "description",
        "lastUpdated": "updated",
        "tags": "tags",
    }
    for key, canonical in keys.items():
        if (value := node.take(key)) is not None:
            body[canonical] = value.copy()
    node.finish(V1)


def _trigger(top: Node, names: Names, body: dict[str, Made]) -> None:
    node = top.take("trigger")
    if node is None:
        body["trigger"] = grown(top, {"manual": True})
        return
    if not node.is_mapping():
        return
    made: dict[str, Made] = {}
    _start(node, made)
    _source(node)
    if (conditions := node.take("conditions")) is not None:
        _conditions(conditions, names, made)
    for key, canonical in (("minConfidence", "min_confidence"), ("rootCause", "root_cause_reason")):
        if (value := node.take(key)) is not None:
            made[canonical] = value.copy()
    node.finish(V1)
    body["trigger"] = node.made(made)


def _start(node: Node, made: dict[str, Made]) -> None:
    """What starts the runbook, by the type of its trigger."""
    kind = node.take("type")
    word = kind.text() if kind is not None else "alert"
    if word == "alert":
        if (alert := node.take("alertName", "alertNames", "alert")) is not None:
            made["alert"] = alert.copy()
    elif word in {"schedule", "cron"}:
        _schedule(node, made)
    elif word in {"manual", "api", "webhook"}:
        made["manual"] = grown(kind or node, True)
    elif kind is not None:
        kind.wrong("RB106", f"{word} is no type of trigger", advice="one of: alert, schedule, manual, api")


def _source(node: Node) -> None:
    source = node.take("source")
    if source is not None and source.text() not in _ALERT_SOURCES:
        node.report.lost.append(f"trigger.source {source.text()}: alerts come through Kafka, whoever sent them")


def _schedule(node: Node, made: dict[str, Made]) -> None:
    cron, zone = node.take("cron", "schedule"), node.take("timezone")
    if cron is None:
        node.wrong("RB103", "a schedule has no cron", advice="add cron: '0 3 * * *'")
        return
    times = {"cron": cron.copy(), **({"timezone": zone.copy()} if zone is not None else {})}
    made["schedule"] = cron.made([cron.made(times)])


def _conditions(node: Node, names: Names, made: dict[str, Made]) -> None:
    """Conditions on the alert; every one must hold."""
    when: list[str] = []
    for item in node.items():
        if isinstance(item.value, str):
            when.append(expression(item, names))
        elif item.is_mapping():
            _condition(item, made, when)
            item.finish(V1)
    if when:
        made["when"] = node.made(" and ".join(f"({one})" if len(when) > 1 else one for one in when))


def _condition(item: Node, made: dict[str, Made], when: list[str]) -> None:
    field, operator = item.word("field").removeprefix("labels."), item.take("operator")
    values = item.take("values", "value")
    word = operator.text() if operator is not None else "in"
    if not field:
        item.wrong("RB103", f"{item.name} names no field", advice="add field: namespace")
        return
    if word in _COMPARED and values is not None:
        when.append(f"incident.labels['{field}'] | float {_COMPARED[word]} {values.text()}")
        return
    if word in {"exists", "notExists"}:
        when.append(f"'{field}' {'in' if word == 'exists' else 'not in'} incident.labels")
        return
    if word not in _IN or values is None:
        advice = f"one of: {', '.join((*_IN, *_COMPARED, 'exists', 'notExists'))}"
        (operator or item).wrong("RB106", f"{item.name}: {word} is no operator here", advice=advice)
        return
    wanted = _IN[word]
    key = _FIELDS.get(field, ("", ""))[0 if wanted else 1]
    listed = values.value if isinstance(values.value, list) else [values.value]
    if key and key not in made:
        made[key] = values.copy() if isinstance(values.value, list) else values.made([values.copy()])
        return
    known = f"incident.resource.{field}" if field == "namespace" else f"incident.labels['{field}']"
    when.append(f"{known} {'in' if wanted else 'not in'} {[str(one) for one in listed]!r}")


def _parameters(top: Node, names: Names, body: dict[str, Made]) -> None:
    node = top.take("parameters")
    made: list[Made] = []
    for item in node.items() if node is not None else []:
        if not item.is_mapping():
            continue
        parts: dict[str, Made] = {}
        for key in ("name", "type", "required", "default", "pattern", "description"):
            if (value := item.take(key)) is not None:
                parts[key] = value.made(_TYPES.get(value.text(), value.value)) if key == "type" else value.copy()
        item.finish(V1)
        made.append(item.made(parts))
    for name, where in names.supplied.items():
        top.report.notes["parameters", len(made)] = NOTE_CONTEXT
        kind = {"type": "integer"} if name.lower().endswith("count") else {}
        made.append(grown(where, {"name": name, **kind, "description": "From the caller, the alert or the settings"}))
    if made:
        body["parameters"] = Made(made, node.path if node is not None else top.path)


def _asks_for_itself(top: Node, body: dict[str, Made]) -> None:
    """A file that says which steps need whose approval has said that the others need none."""
    if "safety" in body or "approvals" not in body:
        return
    body["safety"] = grown(top, {"require_approval": False})
    top.report.notes["safety",] = (
        "The file says itself what needs approval. What cannot be undone asks a human all the same."
    )
