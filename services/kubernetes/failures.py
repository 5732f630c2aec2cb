"""The API server's refusals in the words of the executor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executor.errors import (
    Blocked,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotAdmitted,
    NotFound,
    Owned,
    RemediationError,
    Unavailable,
)
from services.kubernetes.admission import refused_by_admission, unreached_webhooks

OWN_MANAGER = "rootmend"
_LONGEST_AFTER_SECONDS = 30.0
"""A server that wants to be left alone for longer is away."""
_REFUSED, _TOO_MANY, _SERVER_ERROR = 400, 429, 500
_BY_STATUS: Mapping[int, type[RemediationError]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    405: Invalid,
    406: Invalid,
    409: Conflict,
    410: Expired,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}


class FieldsOwned(Owned):
    """Managers own fields that the manifest wants to change.

    Attributes:
        only_by_us: every conflict is with an earlier change of ours; taking those over harms nobody.
    """

    only_by_us = False


def failure(
    status: int, answer: Mapping[str, Any], what: str, *, eviction: bool = False, retry_after: str = ""
) -> RemediationError:
    """The error for an answer that is not a success.

    Args:
        status: HTTP status.
        answer: the server's ``Status`` object, or empty.
        what: what was asked, for people: ``patch Deployment/shop/web``.
        eviction: 429 then means that a disruption budget forbids it.
        retry_after: the header of that name, as the server sent it.
    """
    error = _failure(status, answer, what, eviction=eviction)
    if isinstance(error, Unavailable):
        error.after_seconds = pause_before_next(retry_after)
    return error


def pause_before_next(retry_after: str) -> float:
    """Seconds that a server wants to be left alone for, from its header ``Retry-After``; 0 when it did not say."""
    return min(float(retry_after), _LONGEST_AFTER_SECONDS) if retry_after.isdecimal() else 0.0


def _failure(status: int, answer: Mapping[str, Any], what: str, *, eviction: bool) -> RemediationError:
    message = str(answer.get("message") or f"HTTP {status}")
    text = f"{what}: {message}"
    causes = (answer.get("details") or {}).get("causes") or ()
    owners = [str(cause.get("message", "")) for cause in causes if cause.get("reason") == "FieldManagerConflict"]
    if owners:
        error = FieldsOwned(text)
        error.only_by_us = all(f'"{OWN_MANAGER}"' in owner for owner in owners)
        return error
    if _REFUSED <= status < _SERVER_ERROR and (refused := refused_by_admission(message)) is not None:
        return NotAdmitted(f"{what}: {refused}")
    if any(cause.get("field") == "metadata.uid" for cause in causes):
        # A uid in a patch is a condition; the server calls it a change of an immutable field.
        return Conflict(text)
    if status == _TOO_MANY:
        return Blocked(text) if eviction else Unavailable(text)
    if status >= _SERVER_ERROR:
        silent = ", ".join(dict.fromkeys(unreached_webhooks(message)))
        advice = f" (the admission webhook {silent} does not answer: the server takes no such write until it does)"
        return Unavailable(text + advice if silent else text)
    return _BY_STATUS.get(status, Invalid)(text)
