"""Parameter names as runbooks/v1 writes them: ``toRevision`` for ``to_revision``, ``deployment: web`` for an object."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from executor.actions.base import Params

KIND_WORDS: Mapping[str, str] = {
    "deployment": "Deployment",
    "statefulset": "StatefulSet",
    "daemonset": "DaemonSet",
    "cronjob": "CronJob",
    "job": "Job",
    "node": "Node",
    "pod": "Pod",
}
"""Parameters that give kind and name in one; the kind is what a ``resource`` would say."""

ALIAS = "x-alias-of"
"""In a schema: this property is another spelling of that one."""


class KubeParams(Params):
    """Parameters that may also be spelt as in runbooks/v1.

    Every name is accepted in camel case too. Where there is a ``resource`` and a ``name``, a kind can be the parameter
    and the name its value.
    """

    @model_validator(mode="before")
    @classmethod
    def _own_names(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        camels = _camels(cls)
        given: dict[str, Any] = {}
        for key, value in data.items():
            name: str = str(camels.get(key, key))
            if name in given:
                raise ValueError(f"{name} is given twice, once as {to_camel(name)}")
            given[name] = value
        return _with_object(given, cls.model_fields)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema with the other spellings, so that checks and editors know them."""
        schema = handler.resolve_ref_schema(handler(core))
        own: dict[str, Any] = schema.get("properties", {})
        more: dict[str, Any] = {
            to_camel(name): {**field, "description": f"`{name}`, as runbooks/v1 spells it", ALIAS: name}
            for name, field in own.items()
            if to_camel(name) != name
        }
        words = _words(own)
        more |= {
            word: {
                "type": "string",
                "description": f"Name of a {kind}: `resource` and `name` in one",
                ALIAS: "resource",
            }
            for word, kind in KIND_WORDS.items()
            if word in words
        }
        schema["properties"] = {**own, **more}
        required = schema.get("required", [])
        if words and "resource" in required:
            schema["required"] = [name for name in required if name != "resource"]
            schema["anyOf"] = [{"required": [word]} for word in ("resource", *words)]
        return schema


@lru_cache(maxsize=256)
def _camels(model: type[KubeParams]) -> Mapping[str, str]:
    return {to_camel(name): name for name in model.model_fields}


def _words(fields: Mapping[str, Any]) -> tuple[str, ...]:
    if not {"resource", "name"} <= set(fields):
        return ()
    return tuple(word for word in KIND_WORDS if word not in fields)


def _with_object(given: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """``deployment: web`` as resource and name."""
    found = [word for word in _words(fields) if word in given]
    if not found:
        return given
    if len(found) > 1:
        raise ValueError(f"{' and '.join(found)} name two objects: give one")
    word = found[0]
    name = given.pop(word)
    if not name:
        raise ValueError(f"{word} is empty, so no object is named")
    for taken in ("resource", "name"):
        if given.get(taken):
            raise ValueError(f"{word} says already which object is meant; {taken} is one too many")
    return {**given, "resource": KIND_WORDS[word], "name": name}
