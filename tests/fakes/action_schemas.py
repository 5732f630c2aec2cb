"""Parameters of a few actions as JSON Schema, for checks that must not depend on the executor."""

from __future__ import annotations

from typing import Any

TEXT: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "number"}
FLAG: dict[str, Any] = {"type": "boolean"}
LENGTH: dict[str, Any] = {"anyOf": [NUMBER, TEXT]}
OBJECT = {"resource": TEXT, "name": TEXT, "namespace": TEXT}


def _schema(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


_DATA = {"anyOf": [TEXT, {"type": "object"}, {"type": "array"}]}
_KIND = {"enum": ["strategic", "merge", "json"], "type": "string"}
_WEB = {"url": TEXT, "method": TEXT, "body": _DATA, "headers": {"type": "object"}, "timeout": LENGTH}

ACTIONS: dict[str, dict[str, Any]] = {
    "kubectl_get": _schema({**OBJECT, "field": TEXT}, "resource"),
    "kubectl_patch": _schema({**OBJECT, "patch": _DATA, "type": _KIND}, "resource", "patch"),
    "kubectl_apply": _schema({"manifest": _DATA, "namespace": TEXT, "force": FLAG}, "manifest"),
    "kubectl_delete": _schema({**OBJECT, "grace_seconds": NUMBER}, "resource", "name"),
    "kubectl_scale": _schema({**OBJECT, "replicas": {"type": "integer"}}, "resource", "replicas"),
    "kubectl_rollout_restart": _schema(OBJECT, "resource"),
    "kubectl_cordon": _schema({"node": TEXT}),
    "kubectl_drain": _schema(
        {
            "node": TEXT,
            "ignore_daemonsets": FLAG,
            "delete_emptydir_data": FLAG,
            "grace_seconds": {"type": "integer"},
            "timeout": LENGTH,
        }
    ),
    "calculate": _schema({"expression": {}}, "expression"),
    "wait": _schema({"seconds": NUMBER, "condition": TEXT, "timeout": LENGTH}),
    "check_neo4j": _schema({"query": TEXT, "parameters": {"type": "object"}, "expect": TEXT}, "query", "expect"),
    "sql_query": _schema(
        {"connection": TEXT, "query": {**TEXT, "x-literal": True}, "parameters": {"type": "object"}},
        "connection",
        "query",
    ),
    "webhook": _schema(_WEB, "url"),
    "slack_notify": _schema({"channel": TEXT, "message": TEXT}, "channel", "message"),
}
_WRITES = {"kubectl_patch", "kubectl_apply", "kubectl_delete", "kubectl_scale", "kubectl_rollout_restart"}
_WRITES |= {"kubectl_cordon", "kubectl_drain", "webhook"}
for _name, _parameters in ACTIONS.items():
    _access = "write" if _name in _WRITES else "notify" if _name == "slack_notify" else "read"
    _parameters |= {"x-name": _name, "x-access": _access, "x-idempotent": _name not in {"webhook", "slack_notify"}}
