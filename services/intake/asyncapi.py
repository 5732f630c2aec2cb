"""The AsyncAPI 3.0 document of the topics, made from the models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.intake.contracts import INBOUND, OUTBOUND, Alert
from services.intake.run_request import RunRequest

_REF = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class _Topic:
    """A topic of the document. ``name`` is how the settings call it."""

    name: str
    address: str
    direction: Literal["receive", "send"]
    shapes: tuple[str, ...]
    summary: str
    key: str = ""


_EVENTS = ("event_normalized", "raw_event", "normalizer_v2")
_TOPICS = (
    _Topic("alerts", "alerts", "receive", ("alertmanager", *_EVENTS), "Alertmanager webhook bodies"),
    _Topic("events", "events.normalized", "receive", _EVENTS, "KGroot's events, in three shapes"),
    _Topic("enriched", "alerts.enriched", "receive", ("alerts_enriched",), "Events with what the enricher added"),
    _Topic("rca", "rca.results", "receive", ("rca_result",), "What RCA engines found out"),
    _Topic(
        "run_requests",
        "remediation.run-requests",
        "receive",
        ("run_request",),
        "Runbooks that are asked for by name",
        "request_id",
    ),
    _Topic(
        "decisions", "remediation.decisions", "send", ("decisions",), "One for every incident, whatever was decided"
    ),
    _Topic("requests", "remediation.requests", "send", ("requests",), "Permitted plans (internal)", "target_key"),
    _Topic("executions", "remediation.executions", "send", ("executions",), "The life of each execution"),
    _Topic("approvals", "remediation.approvals", "send", ("approvals",), "Approvals asked for and answered"),
    _Topic("dlq", "remediation.dlq", "send", ("dlq",), "What could not be read"),
)


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schemas of all messages and their parts, by model name; references lead to AsyncAPI's components."""
    models: list[type[BaseModel]] = [*_models().values(), Alert]
    _, joined = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    return dict(joined["$defs"])


def message_schema(name: str) -> dict[str, Any] | None:
    """The JSON Schema of one message by its shape, topic or model name; None when there is none."""
    wanted = name.lower()
    for shape, model in _models().items():
        if wanted in {shape, model.__name__.lower()}:
            schema = model.model_json_schema()
            return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return None


def message_names() -> tuple[str, ...]:
    """Names that ``message_schema`` knows."""
    return tuple(_models())


def asyncapi(topics: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The document.

    Args:
        topics: names of topics by their name in the settings, where they differ from the defaults.
    """
    names = topics or {}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Rootmend",
            "version": release(),
            "description": "Messages that the pipeline reads and writes. Values are JSON in UTF-8; every compression "
            "of Kafka is read. Times are RFC 3339, up to nanoseconds are accepted.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {t.name: _channel(t, names.get(t.name, t.address)) for t in _TOPICS},
        "operations": {f"{t.direction}{t.name.capitalize()}": _operation(t) for t in _TOPICS},
        "components": {"messages": _messages(), "schemas": schemas()},
    }


def _models() -> dict[str, type[BaseModel]]:
    return {**INBOUND, "run_request": RunRequest, **OUTBOUND}


def _channel(topic: _Topic, address: str) -> dict[str, Any]:
    return {
        "address": address,
        "summary": topic.summary,
        "messages": {shape: {"$ref": f"#/components/messages/{shape}"} for shape in topic.shapes},
    }


def _operation(topic: _Topic) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "action": topic.direction,
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "summary": topic.summary,
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{shape}"} for shape in topic.shapes],
    }
    if topic.key:
        operation["description"] = f"Keyed by `{topic.key}`: Kafka keeps the order of each."
    return operation


def _messages() -> dict[str, Any]:
    return {
        shape: {
            "name": shape,
            "title": model.__name__,
            "summary": (model.__doc__ or "").partition("\n")[0],
            "payload": {"$ref": _REF.format(model=model.__name__)},
        }
        for shape, model in _models().items()
    }


def release() -> str:
    """The version of the product."""
    try:
        return version("rootmend")
    except PackageNotFoundError:
        return "0.0.0"
