"""ops-001: data pipelines with a legal basis, assumptions and KPIs, whose steps form a graph."""

from __future__ import annotations

from collections.abc import Mapping

from runbooks.dialects.expressions import Resolve, attribute
from runbooks.dialects.names import Names, bare, identifier, in_dollars, is_environment, unknown
from runbooks.dialects.tree import Made, Node, grown
from runbooks.secret_refs import names_secret

DIALECT = "ops-001"
PASSED = ("safety", "verification", "notification", "timeout", "max_parallel", "tags", "type", "description")
"""Keys of the canonical form that may stand in the file as they are."""

_IDENTITY: Mapping[str, str] = {
    "id": "id",
    "name": "name",
    "version": "version",
    "owner": "author",
    "legal_basis": "legal_basis",
    **{key: key for key in PASSED},
}

_ON_FAILURE: Mapping[str, str] = {
    "abort": "abort",
    "continue": "continue",
    "log_and_continue": "continue",
    "ignore": "continue",
    "rollback": "rollback",
    "approve": "approve",
    "request_approval": "approve",
}
_KPIS: Mapping[str, str] = {
    "max_duration_seconds": "max_duration",
    "max_duration": "max_duration",
    "min_success_rate": "min_success_rate",
    "max_error_rate": "max_error_rate",
}
_ROOTS = ("steps", "execution", "params", "inputs", "env", "secrets", "state", "incident")


def translate_ops001(top: Node) -> Made:
    """The canonical body of a file."""
    steps, declared = top.take("steps"), top.take("parameters", "inputs")
    items = steps.items() if steps is not None else []
    names = _names(items, declared)
    body: dict[str, Made] = {}
    for key, canonical in _IDENTITY.items():
        if (node := top.take(key)) is not None:
            body[canonical] = node.copy()
    _trigger(top, body)
    if (node := top.take("assumptions")) is not None:
        body["assumptions"] = _assumptions(node, names)
    if (node := top.take("kpis")) is not None:
        body["kpis"] = _kpis(node)
    if steps is not None:
        body["steps"] = steps.made([_step(step, names) for step in items])
    _parameters(top, declared, names, body)
    top.finish(DIALECT)
    return top.made(body)


def _names(steps: list[Node], declared: Node | None) -> Names:
    names = Names()
    for step in steps:
        if name := step.word("id"):
            names.steps[name] = identifier(name)
    if declared is not None:
        names.parameters = {str(one.value["name"]) for one in declared.items() if _has_name(one)}
    return names


def _has_name(node: Node) -> bool:
    return isinstance(node.value, Mapping) and "name" in node.value


def _trigger(top: Node, body: dict[str, Made]) -> None:
    node = top.take("trigger")
    if node is not None:
        body["trigger"] = node.copy()
        return
    body["trigger"] = grown(top, {"manual": True})
    top.report.notes["trigger",] = "The file names no trigger: people and programs start it by its id."


def _resolver(names: Names, node: Node) -> Resolve:
    """What the names in this part of the file are called."""

    def resolve(path: tuple[str, ...]) -> str:
        root = path[0]
        if root in {"steps", "step"}:
            return names.step_path(path)
        if root in {"params", "inputs"} and len(path) > 1:
            return attribute(("params", *path[1:]))
        if root == "env" and len(path) > 1:
            return _variable(path[1])
        if root in _ROOTS:
            return attribute(path)
        if len(path) == 1 and root in names.parameters:
            return f"params.{root}"
        if len(path) == 1 and is_environment(root):
            return _variable(root)
        raise unknown(".".join(path), (*_ROOTS, *names.parameters))

    def _variable(name: str) -> str:
        if name not in names.parameters and names_secret(name):
            return f"secrets.{name}"
        return names.supply(name, node)

    return resolve


def _rewritten(node: Node, names: Names) -> Made:
    def rewrite(place: Node, text: str) -> str:
        return in_dollars(place, text, _resolver(names, place)) if "${" in text else text

    return node.copy(rewrite)


def _assumptions(node: Node, names: Names) -> Made:
    """``- fact: true`` is only stated; with a text, the text is an expression that shows it."""
    made: list[Made] = []
    for item in node.items():
        if isinstance(item.value, str):
            made.append(item.made({"name": item.copy()}))
        elif isinstance(item.value, Mapping) and "name" in item.value:
            item.asked.update(item.value)
            made.append(_rewritten(item, names))
        else:
            made += [_assumption(name, fact, names) for name, fact in item.fields()]
    return node.made(made)


def _assumption(name: str, fact: Node, names: Names) -> Made:
    parts: dict[str, object] = {"name": name}
    if isinstance(fact.value, str):
        parts["check"] = fact.made(bare(fact, _unwrapped(fact.value), _resolver(names, fact)))
    elif fact.value is not True:
        message = f"the assumption {name} is {fact.value!r:.40}: a fact is true, or an expression that shows it"
        fact.wrong("RB111", message, advice="write true, or an expression in quotes")
    return grown(fact, parts)


def _unwrapped(text: str) -> str:
    stripped = text.strip()
    return stripped[2:-1] if stripped.startswith("${") and stripped.endswith("}") else stripped


def _kpis(node: Node) -> Made:
    made: dict[str, Made] = {}
    if node.is_mapping():
        for key, canonical in _KPIS.items():
            if (value := node.take(key)) is not None:
                made[canonical] = value.copy()
        node.finish(DIALECT)
    return node.made(made)


def _step(node: Node, names: Names) -> Made:
    if not node.is_mapping():
        return node.copy()
    made = _titled(node, names)
    for key, canonical in (("description", "description"), ("type", "action"), ("action", "action")):
        if canonical not in made and (value := node.take(key)) is not None:
            made[canonical] = value.copy()
    if (value := node.take("inputs", "params")) is not None:
        made["params"] = _rewritten(value, names)
    _order(node, names, made)
    for key in ("outputs", "for_each", "timeout", "retry", "output_var", "idempotent", "max_parallel", "save_state"):
        if (value := node.take(key)) is not None:
            made[key] = _rewritten(value, names)
    if (value := node.take("on_failure")) is not None:
        made["on_failure"] = value.made(value.one_of(_ON_FAILURE) or value.value)
    if (value := node.take("on_success")) is not None:
        made["on_success"] = value.copy()
    node.finish(DIALECT)
    return node.made(made)


def _titled(node: Node, names: Names) -> dict[str, Made]:
    """Id and name; the id is also the name when there is none."""
    made: dict[str, Made] = {}
    identity = node.take("id")
    title = node.take("name") or identity
    if identity is not None:
        made["id"] = identity.made(names.step(identity.text()))
    if title is not None:
        made["name"] = title.made(title.text())
    return made


def _order(node: Node, names: Names, made: dict[str, Made]) -> None:
    """Steps that name no dependency start at once; only the order of a graph counts here."""
    value = node.take("depends_on")
    if value is None:
        made["depends_on"] = grown(node, [])
    elif isinstance(value.value, str):
        made["depends_on"] = value.made([value.made(names.step(value.value))])
    else:
        made["depends_on"] = value.made([one.made(names.step(one.text())) for one in value.items()])
    if (condition := node.take("when", "condition")) is not None:
        text = condition.value
        expression = isinstance(text, str)
        made["when"] = condition.made(
            bare(condition, _unwrapped(text), _resolver(names, condition)) if expression else text
        )


def _parameters(top: Node, declared: Node | None, names: Names, body: dict[str, Made]) -> None:
    made: list[Made] = [one.copy() for one in declared.items()] if declared is not None else []
    for name, where in names.supplied.items():
        index = len(made)
        made.append(grown(where, {"name": name, "required": True}))
        top.report.notes["parameters", index] = f"${{{name}}} came from the environment: it is a parameter now."
    if made:
        body["parameters"] = Made(made, declared.path if declared is not None else top.path)
