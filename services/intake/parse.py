"""From the bytes of a message to signals. Never raises: what cannot be read comes back as ``Poison``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import orjson

from matcher.fingerprint import alert_key
from matcher.model import Origin, Received
from services.intake import shapes
from services.intake.errors import ErrorCode, Unreadable
from services.intake.fields import NOBODY, Envelope, shown
from services.intake.run_request import SCHEMA as RUN_REQUEST
from services.intake.run_request import from_run_request
from services.intake.settings import IntakeSettings

__all__ = ["Origin", "Parsed", "Poison", "Received", "parse"]

_BOM = b"\xef\xbb\xbf"
_RCA = "rca.result/v1"
_TENANT_HEADERS = frozenset({"tenant", "x-tenant", "client_id"})
_CLUSTER_HEADERS = frozenset({"cluster", "x-cluster", "cluster_name"})


@dataclass(frozen=True, slots=True)
class Poison:
    """A message, or one alert of it, that goes to the DLQ.

    Attributes:
        error_code: one of ``ErrorCode``.
        detail: what is wrong and where, for people.
    """

    error_code: ErrorCode
    detail: str


Parsed = tuple[Received | Poison, ...]
"""What a message holds, in its order; never empty."""

_Reader = Callable[[Mapping[str, Any], Origin, Envelope], Received]


def parse(  # noqa: PLR0917 - a message in the order of its parts
    topic: str,
    partition: int,
    offset: int,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes]],
    received_at: datetime,
    settings: IntakeSettings,
    key: bytes | None = None,
) -> Parsed:
    """Read one message.

    Args:
        topic: where it came from.
        partition: of the topic.
        offset: in the partition.
        value: its bytes.
        headers: may name ``tenant`` and ``cluster``; what the value says counts more.
        received_at: the broker's timestamp, so that reading it again gives the same signals.
        settings: limits and defaults.
        key: KGroot writes ``client::event_id``; the part before the colons is the tenant.

    Returns:
        One ``Received`` for each signal and one ``Poison`` for each part that cannot be read.
    """
    try:
        data = _object(value, settings)
        tenant, cluster = _outside(headers, key)
        origin = Origin(topic, partition, offset)
        envelope = partial(Envelope, received_at, settings, tenant, cluster)
        if _asks(data, topic, settings):
            return (from_run_request(data, origin, envelope()),)
        return _read(data, origin, envelope)
    except Unreadable as error:
        return (Poison(error.code, error.detail),)
    except Exception as error:  # noqa: BLE001 - a fault of ours must not stop the partition
        return (Poison(ErrorCode.INTERNAL, f"{type(error).__name__}: {error}"),)


def _asks(data: Mapping[str, Any], topic: str, settings: IntakeSettings) -> bool:
    """Whether the message asks for a runbook by name. Only one topic can: who may write alerts may not give orders."""
    schema = data.get("schema")
    if topic == settings.run_requests:
        if schema != RUN_REQUEST:
            raise Unreadable(ErrorCode.UNSUPPORTED_SCHEMA, f"only {RUN_REQUEST} is read from {topic}")
        return True
    if schema == RUN_REQUEST:
        raise Unreadable(ErrorCode.UNSUPPORTED_SCHEMA, f"{RUN_REQUEST} is read from {settings.run_requests} only")
    return False


def _object(value: bytes | None, settings: IntakeSettings) -> dict[str, Any]:
    if not value:
        raise Unreadable(ErrorCode.EMPTY_VALUE, "the message has no value")
    if len(value) > settings.max_message_bytes:
        raise Unreadable(ErrorCode.OVERSIZE, f"{len(value)} bytes, at most {settings.max_message_bytes}")
    if value.count(b"{") + value.count(b"[") > settings.max_depth:
        _check_depth(value, settings.max_depth)
    try:
        data = orjson.loads(value.removeprefix(_BOM))
    except orjson.JSONDecodeError as error:
        raise _not_json(value, error) from error
    if not isinstance(data, dict):
        raise Unreadable(ErrorCode.NOT_AN_OBJECT, f"the JSON is {_json_type(data)}, not an object")
    return data


def _check_depth(value: bytes, limit: int) -> None:
    """Count brackets outside of strings, before a parser has to follow them down."""
    depth, inside, escaped = 0, False, False
    for byte in value:
        if inside:
            if escaped:
                escaped = False
            elif byte == 0x5C:  # noqa: PLR2004 - a backslash
                escaped = True
            else:
                inside = byte != 0x22  # noqa: PLR2004 - a quotation mark
        elif byte == 0x22:  # noqa: PLR2004 - a quotation mark
            inside = True
        elif byte in b"{[":
            depth += 1
            if depth > limit:
                raise Unreadable(ErrorCode.TOO_DEEP, f"nested deeper than {limit}")
        elif byte in b"}]":
            depth -= 1


def _not_json(value: bytes, error: orjson.JSONDecodeError) -> Unreadable:
    try:
        value.decode()
    except UnicodeDecodeError as bad:
        return Unreadable(ErrorCode.BAD_UTF8, f"byte {bad.start}: {bad.reason}")
    return Unreadable(ErrorCode.BAD_JSON, f"line {error.lineno}, column {error.colno}: {error.msg}")


def _json_type(data: object) -> str:
    names = {list: "a list", str: "a text", bool: "a boolean", type(None): "null"}
    return names.get(type(data), "a number")


def _outside(headers: Iterable[tuple[str, bytes]], key: bytes | None) -> tuple[str, str]:
    """Tenant and cluster as headers and key say. Bytes that are no text are marked, and refused when they are used."""
    tenant = cluster = ""
    for name, content in headers:
        lowered = name.lower()
        if lowered in _TENANT_HEADERS:
            tenant = content.decode("utf-8", "replace").strip()
        elif lowered in _CLUSTER_HEADERS:
            cluster = content.decode("utf-8", "replace").strip()
    if not tenant and key and b"::" in key:
        tenant = key.partition(b"::")[0].decode("utf-8", "replace").strip()
    return tenant, cluster


def _read(data: dict[str, Any], origin: Origin, envelope: Callable[[], Envelope]) -> Parsed:
    if data.get("schema") == _RCA:
        return (shapes.from_rca(data, origin, envelope()),)
    if "enrichment" in data:
        return (_enriched(data, origin, envelope()),)
    reader = _event_reader(data)
    if reader is not None:
        return (reader(data, origin, envelope()),)
    if "alerts" in data:
        return tuple(_alerts(data, origin, envelope))
    if isinstance(data.get("schema"), str):
        raise Unreadable(ErrorCode.UNSUPPORTED_SCHEMA, f"schema {shown(data['schema'])} is not read here")
    raise Unreadable(ErrorCode.UNKNOWN_SHAPE, f"an object with {_fields(data)} is none of the known shapes")


def _event_reader(data: Mapping[str, Any]) -> _Reader | None:
    """Which of the three event shapes an object has, by its structure."""
    if "involvedObject" in data:
        return shapes.from_raw
    event_id = data.get("event_id")
    short = isinstance(event_id, str) and event_id.startswith("evt-")
    if "event_type_abstract" in data or "involved_object_kind" in data or (short and "subject" not in data):
        return shapes.from_v2
    if "etype" in data or "subject" in data or ("event_id" in data and "reason" in data):
        return None if _foreign(data) else shapes.from_event
    return None


def _foreign(data: Mapping[str, Any]) -> bool:
    """Whether the object is an RCA result of another version, which has a subject as well."""
    schema = data.get("schema")
    return isinstance(schema, str) and schema.startswith("rca.")


def _enriched(data: dict[str, Any], origin: Origin, envelope: Envelope) -> Received:
    """The input event with what the enricher added; its subject counts where the event has none."""
    found = shapes.enriched_subject(data)
    reader = _event_reader(data)
    if reader is None:
        raise Unreadable(ErrorCode.UNKNOWN_SHAPE, "an enrichment of something that is none of the event shapes")
    received = reader(data, origin, envelope)
    signal = replace(received.signal, shape="alerts_enriched")
    if signal.subject == NOBODY and found != NOBODY:
        key = alert_key(signal.tenant, signal.cluster, signal.reason, found)
        signal = replace(signal, subject=found, alert_key=key)
    return replace(received, signal=signal)


def _alerts(data: dict[str, Any], origin: Origin, envelope: Callable[[], Envelope]) -> Iterable[Received | Poison]:
    body, alerts = shapes.alerts_of(data, envelope())
    for number, alert in enumerate(alerts):
        try:
            yield shapes.from_alert(alert, body.status, origin, envelope())
        except Unreadable as error:
            yield Poison(error.code, f"alerts[{number}]: {error.detail}")


def _fields(data: Mapping[str, Any]) -> str:
    names = ", ".join(sorted(str(name)[:40] for name in data)[:12])
    return f"the fields {names}" if names else "no fields"
