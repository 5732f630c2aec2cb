"""Other names of parameters, for runbooks that were written in another dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from executor.actions.base import Params
from executor.actions.spelling import ALIAS


class Synonyms(Params):
    """Parameters some of which have a second name.

    Attributes:
        synonyms: the parameter by its other name.
    """

    synonyms: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _own_names(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        given: dict[str, Any] = {}
        for key, value in data.items():
            name = cls.synonyms.get(key, key)
            if name in given:
                raise ValueError(f"{name} is given twice: {key} is another name of it")
            given[name] = value
        return given

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema with the other names, so that checks and editors know them."""
        schema = handler.resolve_ref_schema(handler(core))
        own: dict[str, Any] = schema.get("properties", {})
        known = {other: name for other, name in cls.synonyms.items() if name in own}
        schema["properties"] = own | {
            other: {**own[name], "description": f"Another name of `{name}`", ALIAS: name}
            for other, name in known.items()
        }
        doubled = set(known.values())
        if needed := [name for name in schema.get("required", ()) if name in doubled]:
            schema["required"] = [name for name in schema["required"] if name not in doubled]
            schema["allOf"] = [
                {"anyOf": [{"required": [name]}, *({"required": [o]} for o, n in known.items() if n == name)]}
                for name in needed
            ]
        return schema
