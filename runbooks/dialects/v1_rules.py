"""What runbooks/v1 says around its steps: preconditions, approvals, rollback."""

from __future__ import annotations

from collections.abc import Mapping

from runbooks.dialects.names import Names, identifier
from runbooks.dialects.tree import Made, Node, grown
from runbooks.dialects.v1_names import condition, expression, rewritten
from runbooks.dialects.v1_steps import V1, save_what_is_asked_for, steps_of

_UNMET: Mapping[str, str] = {
    "abort": "abort",
    "requestApproval": "request_approval",
    "request_approval": "request_approval",
    "skip": "skip",
}
_STEP_FAILED_PARTS = 3


def preconditions(node: Node, names: Names) -> Made:
    """Checks before anything is changed."""
    return node.made([_precondition(item, names) for item in node.items()])


def _precondition(node: Node, names: Names) -> Made:
    if not node.is_mapping():
        return node.copy()
    made: dict[str, Made] = {}
    if (value := node.take("name")) is not None:
        made["name"] = value.copy()
    kind, action, params = node.word("type"), node.word("action"), node.take("params")
    if (kind, action) == ("schedule", "isWithinWindow") and params is not None:
        if (windows := params.take("windows")) is not None:
            made["windows"] = windows.copy()
        params.finish(V1)
    else:
        if kind or action:
            made["action"] = (node.take("action") or node).made("/".join(filter(None, (kind, action))))
        if params is not None:
            made["params"] = rewritten(params, names)
    if (value := node.take("condition", "check")) is not None:
        made["check"] = condition(value, names)
    if (value := node.take("timeout")) is not None:
        made["timeout"] = value.copy()
    if (value := node.take("onFailure")) is not None:
        made["on_failure"] = value.made(value.one_of(_UNMET) or value.value)
    node.finish(V1)
    return node.made(made)


def approvals(top: Node, names: Names) -> dict[str, Made]:
    """Rules and emergency bypasses."""
    node = top.take("approvals")
    if node is None:
        return {}
    rules: list[Made] = []
    bypasses: list[Made] = []
    for item in node.items():
        if not item.is_mapping():
            continue
        if item.word("type") == "override":
            bypasses.append(_bypass(item))
        else:
            rules.append(_rule(item, names))
        item.finish(V1)
    parts = {"rules": node.made(rules), "bypass": node.made(bypasses)}
    return {"approvals": node.made({key: value for key, value in parts.items() if value.value})}


def _bypass(node: Node) -> Made:
    made: dict[str, Made] = {}
    keys = (("name", "name"), ("requiresJustification", "requires_justification"), ("auditLevel", "audit_level"))
    for key, canonical in keys:
        if (value := node.take(key)) is not None:
            made[canonical] = value.copy()
    permissions = node.take("permissions")
    roles: list[Made] = []
    for one in permissions.items() if permissions is not None else []:
        if isinstance(one.value, Mapping) and (role := one.take("role")) is not None:
            roles.append(role.copy())
            one.finish(V1)
        else:
            one.wrong("RB111", f"{one.name} names no role", advice="write - role: NAME")
    made["roles"] = (permissions or node).made(roles)
    return node.made(made)


def _rule(node: Node, names: Names) -> Made:
    made: dict[str, Made] = {}
    if (value := node.take("name")) is not None:
        made["name"] = value.copy()
    if (trigger := node.take("trigger")) is not None and trigger.is_mapping():
        if (step := trigger.take("step")) is not None:
            made["step"] = step.made(names.step(step.text()))
        if (conditions := trigger.take("conditions")) is not None:
            each = [expression(one, names) for one in conditions.items()]
            made["when"] = conditions.made(" or ".join(f"({one})" for one in each) if len(each) > 1 else each[0])
        trigger.finish(V1)
    if (workflow := node.take("workflow")) is not None and workflow.is_mapping():
        _workflow(workflow, made)
    return node.made(made)


def _workflow(node: Node, made: dict[str, Made]) -> None:
    for key, canonical in (("type", "order"), ("timeout", "timeout"), ("escalation", "escalation")):
        if (value := node.take(key)) is not None:
            made[canonical] = value.copy()
    approvers = {"type": "type", "value": "value", "required": "required", "minApprovals": "min_approvals"}
    if (value := node.take("approvers")) is not None:
        made["approvers"] = _renamed(value, approvers)
    if (value := node.take("channels")) is not None:
        made["channels"] = value.copy()
    if (value := node.take("requiresComment")) is not None:
        made["comment_required"] = value.copy()
    reasons = {"label": "label", "value": "value", "style": "style", "requiresComment": "requires_comment"}
    if (actions := node.take("actions")) is not None and actions.is_mapping():
        for answer in ("approve", "reject"):
            if (value := actions.take(answer)) is not None:
                made[answer] = _renamed(value, reasons)
        actions.finish(V1)
    node.finish(V1)


def _renamed(node: Node, keys: Mapping[str, str]) -> Made:
    """A list of mappings whose keys have other names here."""
    items: list[Made] = []
    for item in node.items():
        parts = {to: value.copy() for key, to in keys.items() if (value := item.take(key)) is not None}
        item.finish(V1)
        items.append(item.made(parts))
    return node.made(items)


def rollback(top: Node, names: Names, steps: Made | None) -> dict[str, Made]:
    """Triggers and named procedures."""
    node = top.take("rollback")
    if node is None or not node.is_mapping():
        return {}
    procedures = _procedures(node, names)
    known = {name: identifier(name) for name in procedures}
    triggers: list[Made] = []
    if (value := node.take("triggers")) is not None:
        triggers = [_trigger(item, names, known) for item in value.items() if item.is_mapping()]
    made: dict[str, Made] = {}
    if (value := node.take("steps")) is not None:
        made["steps"] = steps_of(value, names, ("rollback", "steps"))
    elif len(known) == 1 and steps is not None:
        triggers += _implied(node, steps, triggers, next(iter(known.values())))
    node.finish(V1)
    if triggers:
        made["triggers"] = node.made(triggers)
    if steps is not None:
        save_what_is_asked_for(steps, names, top)
    named = {known[name]: part for name, part in procedures.items()}
    return {"rollback": node.made(made), **({"procedures": node.made(named)} if named else {})}


def _procedures(node: Node, names: Names) -> dict[str, Made]:
    value = node.take("procedures")
    found: dict[str, Made] = {}
    for item in value.items() if value is not None else []:
        name, steps = item.word("name"), item.take("steps")
        item.finish(V1)
        if not name or steps is None:
            item.wrong("RB103", f"{item.name} needs a name and steps")
        else:
            found[name] = steps_of(steps, names, ("procedures", identifier(name)))
    return found


def _trigger(node: Node, names: Names, procedures: Mapping[str, str]) -> Made:
    made: dict[str, Made] = {}
    value, window, times = node.take("condition"), node.take("window"), node.take("consecutiveFailures")
    text = str(value.value).strip() if value is not None else ""
    parts = text.split(".")
    if value is None:
        node.wrong("RB103", f"{node.name} has no condition")
    elif len(parts) == _STEP_FAILED_PARTS and parts[0] in {"step", "steps"} and parts[2] == "failed":
        if parts[1] not in names.steps:
            names_advice = f"known: {', '.join(names.steps)}"
            value.wrong("RB206", f"there is no step {parts[1]}", advice=names_advice)
        made["step_failed"] = value.made(names.step(parts[1]))
    elif text.lower() in {"healthcheck.failed", "health.failed"}:
        made["health_check_failed"] = times.copy() if times is not None else grown(value, 1)
    else:
        made["condition"] = value.made(expression(value, names))
    if times is not None and "health_check_failed" not in made:
        times.wrong("RB111", f"{node.name}: only healthcheck.failed is counted")
    if window is not None:
        made["window"] = window.copy()
    if (action := node.take("action")) is not None:
        if action.text() not in procedures:
            known = f"known: {', '.join(procedures)}" if procedures else "add it under rollback.procedures"
            action.wrong("RB215", f"there is no procedure {action.text()}", advice=known)
        made["run"] = action.made(procedures.get(action.text(), identifier(action.text())))
    node.finish(V1)
    return node.made(made)


def _implied(node: Node, steps: Made, triggers: list[Made], procedure: str) -> list[Made]:
    """The one procedure is also what ``onFailure: rollback`` and a fix that did not help lead to."""
    named = {one.value["step_failed"].value for one in triggers if "step_failed" in one.value}
    more: list[Made] = []
    for step in steps.value if isinstance(steps.value, list) else []:
        failure = step.value.get("on_failure") if isinstance(step.value, Mapping) else None
        if failure is not None and failure.value == "rollback" and step.value["id"].value not in named:
            more.append(Made({"step_failed": step.value["id"], "run": Made(procedure, node.path)}, failure.origin))
    if not any("not_fixed" in one.value for one in triggers):
        more.append(grown(node, {"not_fixed": True, "run": procedure}))
    if more:
        text = "The file has one procedure: it is also the way back for onFailure: rollback and when nothing helped."
        node.report.notes["rollback", "triggers", len(triggers)] = text
    return more
