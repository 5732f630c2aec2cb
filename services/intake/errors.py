"""Why a message cannot be read: the error codes of the dead letters."""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """What is wrong with a message."""

    EMPTY_VALUE = "empty_value"
    OVERSIZE = "oversize"
    BAD_UTF8 = "bad_utf8"
    BAD_JSON = "bad_json"
    TOO_DEEP = "too_deep"
    NOT_AN_OBJECT = "not_an_object"
    UNKNOWN_SHAPE = "unknown_shape"
    UNSUPPORTED_SCHEMA = "unsupported_schema"
    BAD_SHAPE = "bad_shape"
    NO_ALERTS = "no_alerts"
    TOO_MANY = "too_many"
    NO_EVENT_ID = "no_event_id"
    BAD_EVENT_ID = "bad_event_id"
    NO_REASON = "no_reason"
    BAD_REASON = "bad_reason"
    NO_SUBJECT = "no_subject"
    BAD_KIND = "bad_kind"
    BAD_NAME = "bad_name"
    BAD_NAMESPACE = "bad_namespace"
    BAD_UID = "bad_uid"
    BAD_TIME = "bad_time"
    BAD_TENANT = "bad_tenant"
    BAD_CLUSTER = "bad_cluster"
    BAD_CONFIDENCE = "bad_confidence"
    BAD_WRITER = "bad_writer"
    INTERNAL = "internal_error"

    @property
    def meaning(self) -> str:
        """The code in words, for the documentation."""
        return _MEANINGS[self]


_MEANINGS = {
    ErrorCode.EMPTY_VALUE: "the message has no value (a tombstone) or an empty one",
    ErrorCode.OVERSIZE: "the value is larger than `max_message_bytes`",
    ErrorCode.BAD_UTF8: "the value is not UTF-8",
    ErrorCode.BAD_JSON: "the value is not JSON (NaN and Infinity are not either)",
    ErrorCode.TOO_DEEP: "the JSON is nested deeper than `max_depth`",
    ErrorCode.NOT_AN_OBJECT: "the JSON is not an object",
    ErrorCode.UNKNOWN_SHAPE: "the object is none of the known shapes",
    ErrorCode.UNSUPPORTED_SCHEMA: "the object names a `schema` that is not read here",
    ErrorCode.BAD_SHAPE: "a field has the wrong type; the detail names it",
    ErrorCode.NO_ALERTS: "an Alertmanager body without alerts",
    ErrorCode.TOO_MANY: "more alerts, labels or causes than the limits allow",
    ErrorCode.NO_EVENT_ID: "the shape needs an event id and has none",
    ErrorCode.BAD_EVENT_ID: "the event id is too long or not printable",
    ErrorCode.NO_REASON: "neither reason nor alert name",
    ErrorCode.BAD_REASON: "the reason is too long or not printable",
    ErrorCode.NO_SUBJECT: "nothing says what it is about, and the graph cannot know either",
    ErrorCode.BAD_KIND: "the kind is not a Kubernetes kind",
    ErrorCode.BAD_NAME: "the name is not a Kubernetes name",
    ErrorCode.BAD_NAMESPACE: "the namespace is not an RFC 1123 label",
    ErrorCode.BAD_UID: "the uid is too long or has odd characters",
    ErrorCode.BAD_TIME: "the time is neither RFC 3339 nor an epoch",
    ErrorCode.BAD_TENANT: "the tenant has characters that keys cannot hold",
    ErrorCode.BAD_CLUSTER: "the cluster has characters that keys cannot hold",
    ErrorCode.BAD_CONFIDENCE: "a confidence is not a number from 0 to 1",
    ErrorCode.BAD_WRITER: "the writer of an RCA result is missing or not printable",
    ErrorCode.INTERNAL: "a fault of intake itself; the partition moves on all the same",
}


class Unreadable(Exception):
    """A message, or one alert of it, that cannot be read. Does not leave this package.

    Args:
        code: what is wrong.
        detail: the same with the place and the value, for people.
    """

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
