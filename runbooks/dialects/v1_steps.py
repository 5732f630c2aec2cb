"""Steps of runbooks/v1: type and action, saved output and state, approval by conditions, what follows a failure."""

from __future__ import annotations

from collections.abc import Mapping

from runbooks.dialects.names import Names, identifier
from runbooks.dialects.tree import Made, Node, grown
from runbooks.dialects.v1_names import condition, expression, rewritten
from runbooks.yaml_source import Path

V1 = "runbooks/v1"
_ON_FAILURE: Mapping[str, str] = {
    "abort": "abort",
    "continue": "continue",
    "rollback": "rollback",
    "requestApproval": "approve",
    "approve": "approve",
}
_ON_SUCCESS: Mapping[str, str] = {"complete": "complete", "continue": "continue"}
_RETRY: Mapping[str, str] = {
    "attempts": "attempts",
    "maxAttempts": "attempts",
    "delay": "backoff",
    "backoff": "backoff",
    "interval": "backoff",
    "maxDelay": "max_backoff",
    "maxBackoff": "max_backoff",
    "factor": "factor",
    "multiplier": "factor",
    "jitter": "jitter",
    "on": "errors",
}
_OBJECTS = ("deployment", "statefulset", "daemonset", "pod", "node")
REVISION = "metadata.annotations['deployment.kubernetes.io/revision']"
_DERIVED: Mapping[str, str] = {"previousRevision": REVISION, "previousReplicaCount": "spec.replicas"}
"""Saved values that files ask for without saving them, and where a Deployment has them."""


def steps_of(node: Node, names: Names, where: Path) -> Made:
    """The steps of a list, with a step that reads the live object before the first one that asks for it."""
    made: list[Made] = []
    read: set[str] = set()
    for item in node.items():
        names.live.clear()
        step = _one(item, names)
        for kind in sorted(names.live - read):
            if kind in _OBJECTS:
                read.add(kind)
                node.report.notes[(*where, len(made))] = (
                    f"The file asks for {kind}.*, so the live {kind} is read first."
                )
                made.append(_reading(item, kind, names))
        made.append(step)
    return node.made(made)


def _reading(item: Node, kind: str, names: Names) -> Made:
    """A step that reads the object of another step."""
    params: dict[str, Made] = {}
    given = item.child("params") if isinstance(item.value.get("params"), Mapping) else None
    for key in ("namespace", kind):
        if given is not None and (value := given.take(key)) is not None:
            params[key] = rewritten(value, names)
    if kind not in params:
        params["resource"] = grown(item, kind)
    step = {"id": f"read_{kind}", "name": f"Read the {kind}", "action": "kubectl_get", "params": item.made(params)}
    return grown(item, {**step, "output_var": kind})


def _one(node: Node, names: Names) -> Made:
    if not node.is_mapping():
        return node.copy()
    made: dict[str, Made] = {}
    title = node.take("name")
    if title is not None:
        made["id"] = title.made(names.step(title.text()))
        made["name"] = title.copy()
    if (value := node.take("description")) is not None:
        made["description"] = value.copy()
    made["action"], params = _action(node, node.take("params"), names)
    if params is not None:
        made["params"] = params
    _flow(node, names, made)
    _failure(node, made)
    _approval(node, names, made)
    _state(node, names, made)
    node.finish(V1)
    return node.made(made)


def _action(node: Node, params: Node | None, names: Names) -> tuple[Made, Made | None]:
    """Type and action in one name, which the actions know; without an action the type is one itself."""
    kind, action = node.word("type"), node.word("action")
    if not action and not kind:
        node.wrong("RB103", f"{node.name} has no action", advice="add type: and action:")
    place = node.take("action") or node.take("type") or node
    name = place.made("/".join(filter(None, (kind, action))))
    if params is None:
        return name, None
    return name, _until(params, names) if name.value == "wait/until" else rewritten(params, names)


def _until(params: Node, names: Names) -> Made:
    """A wait whose condition is looked at again and again."""
    if not isinstance(params.value, Mapping):
        return params.copy()
    parts: dict[str, Made] = {}
    for key, value in params.fields():
        if key == "condition" and isinstance(value.value, str):
            parts[key] = value.made(expression(value, names, live=True))
        else:
            parts[key] = rewritten(value, names)
    return params.made(parts)


def _flow(node: Node, names: Names, made: dict[str, Made]) -> None:
    if (value := node.take("dependsOn")) is not None:
        listed = value.items() if isinstance(value.value, list) else [value]
        made["depends_on"] = value.made([one.made(names.step(one.text())) for one in listed])
    if (value := node.take("condition", "when")) is not None:
        made["when"] = condition(value, names)
    if (value := node.take("forEach")) is not None:
        made["for_each"] = (
            value.made(expression(value, names)) if isinstance(value.value, str) else rewritten(value, names)
        )
    if (value := node.take("retry", "retries")) is not None:
        made["retry"] = _retry(value)
    if (value := node.take("timeout")) is not None:
        made["timeout"] = value.copy()
    if (value := node.take("saveOutput")) is not None:
        made["output_var"] = value.made(identifier(value.text()))
    if (value := node.take("outputs")) is not None:
        made["outputs"] = rewritten(value, names)
    if (value := node.take("idempotent")) is not None:
        made["idempotent"] = value.copy()


def _retry(node: Node) -> Made:
    if isinstance(node.value, int) and not isinstance(node.value, bool):
        return grown(node, {"attempts": node.value + 1})
    made: dict[str, Made] = {}
    if node.is_mapping():
        for key, canonical in _RETRY.items():
            if (value := node.take(key)) is not None:
                made[canonical] = value.copy()
        node.finish(V1)
    return node.made(made)


def _failure(node: Node, made: dict[str, Made]) -> None:
    failure, go_on = node.take("onFailure"), node.take("continueOnFailure")
    if go_on is not None and go_on.value is not True and go_on.value is not False:
        go_on.wrong("RB104", f"{go_on.name}: expected true or false")
    if failure is not None:
        word = failure.one_of(_ON_FAILURE)
        if go_on is not None and go_on.value is True and word not in {None, "continue"}:
            message = f"{node.name} says continueOnFailure and onFailure: {failure.value}"
            go_on.wrong("RB111", message, advice="keep one of them")
        made["on_failure"] = failure.made(word or failure.value)
    elif go_on is not None and go_on.value is True:
        made["on_failure"] = go_on.made("continue")
    if (success := node.take("onSuccess")) is not None:
        made["on_success"] = success.made(success.one_of(_ON_SUCCESS) or success.value)


def _approval(node: Node, names: Names, made: dict[str, Made]) -> None:
    """``type: auto`` needs no human while every condition holds; one that cannot be read does not hold."""
    value = node.take("requiresApproval")
    if value is None:
        return
    if not isinstance(value.value, Mapping):
        made["require_approval"] = value.copy()
        return
    kind, conditions = value.take("type"), value.take("conditions")
    word = kind.text() if kind is not None else "manual"
    value.finish(V1)
    if word == "auto" and conditions is not None:
        each = [expression(one, names) for one in conditions.items()]
        made["require_approval"] = value.made("not (" + " and ".join(f"({one})" for one in each) + ")")
        return
    if word not in {"auto", "manual", "always"}:
        (kind or value).wrong("RB106", f"{word} is no way to approve", advice="one of: auto, manual, always")
    elif conditions is not None:
        conditions.wrong("RB111", f"{value.name}: only type auto has conditions", advice="say type: auto")
    made["require_approval"] = grown(value, True)


def _state(node: Node, names: Names, made: dict[str, Made]) -> None:
    value = node.take("saveState")
    if value is None:
        return
    parts: dict[str, Made] = {}
    if isinstance(value.value, Mapping):
        parts = {key: rewritten(item, names) for key, item in value.fields()}
    else:
        for item in value.items():
            if not item.is_mapping():
                continue
            key, what = item.take("key"), item.take("value")
            item.finish(V1)
            if key is None or what is None:
                item.wrong("RB103", f"{item.name} needs key and value")
            else:
                parts[key.text()] = rewritten(what, names)
    made["save_state"] = value.made(parts)


def save_what_is_asked_for(steps: Made, names: Names, report_to: Node) -> None:
    """Values that a rollback asks for and no step saves, where it is plain what they are.

    They are saved with the first step that saves anything: it is the one that the rollback is about.
    """
    listed: list[Made] = steps.value if isinstance(steps.value, list) else []
    saved = {key for one in listed if isinstance(one.value, Mapping) for key in _saved(one)}
    missing = [name for name in names.state_used if name not in saved and name in _DERIVED]
    for index, step in enumerate(listed):
        if not missing or not isinstance(step.value, dict) or "save_state" not in step.value:
            continue
        if not any(_reads(one, "deployment") for one in listed[:index]):
            return
        state = step.value["save_state"]
        origin = names.state_used
        more = {name: Made("{{ deployment." + _DERIVED[name] + " }}", origin[name].path) for name in missing}
        step.value["save_state"] = Made({**state.value, **more}, state.origin)
        text = f"The rollback asks for {', '.join(missing)}, which no step saves: taken from the Deployment."
        report_to.report.notes["steps", index, "save_state"] = text
        return


def _saved(step: Made) -> tuple[str, ...]:
    state = step.value.get("save_state")
    return tuple(state.value) if state is not None else ()


def _reads(step: Made, kind: str) -> bool:
    variable = step.value.get("output_var") if isinstance(step.value, Mapping) else None
    return variable is not None and variable.value == kind
