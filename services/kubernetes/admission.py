"""Refusals of admission, explained: which policy, webhook or quota said no, in its words, and what can be done."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refused:
    """Who refused an object.

    Attributes:
        who: for people: ``admission webhook "validate.example.com"``.
        why: its own words.
        advice: what to do.
    """

    who: str
    why: str
    advice: str

    def __str__(self) -> str:
        return f"{self.who} refused it: {self.why.rstrip('. ') or 'it gives no reason'}. {self.advice}"


_COMPLY = "Let the runbook write what it allows, or ask its owner for an exception"
_KINDS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(
            r"ValidatingAdmissionPolicy '(?P<name>[^']+)'(?: with binding '(?P<binding>[^']+)')? denied request: "
            r"(?P<why>.*)",
            re.DOTALL,
        ),
        "ValidatingAdmissionPolicy {name} (binding {binding})",
        _COMPLY,
    ),
    (
        re.compile(
            r'admission webhook "(?P<name>[^"]+)" denied the request(?: without explanation)?:?\s*(?P<why>.*)',
            re.DOTALL,
        ),
        "admission webhook {name}",
        _COMPLY,
    ),
    (
        re.compile(r'violates PodSecurity "(?P<name>[^"]+)": (?P<why>.*)', re.DOTALL),
        "the Pod Security level {name} of the namespace",
        "Let the runbook keep to the level, or have the namespace's label changed",
    ),
    (
        re.compile(r"exceeded quota: (?P<name>[^,]+), (?P<why>.*)", re.DOTALL),
        "the ResourceQuota {name}",
        "Let the runbook ask for less, or have the quota raised",
    ),
    (
        re.compile(r"(?P<why>(?:maximum|minimum) [a-z-]+ usage per (?P<name>\w+) is .*)", re.DOTALL),
        "the LimitRange for each {name}",
        "Let the runbook keep within the range, or have it changed",
    ),
)
_UNREACHED = re.compile(r'failed calling webhook "(?P<name>[^"]+)"')


def refused_by_admission(message: str) -> Refused | None:
    """Who refused an object, from the server's message; None when it was not admission."""
    for pattern, who, advice in _KINDS:
        if found := pattern.search(message):
            parts = {name: value or "none" for name, value in found.groupdict().items()}
            return Refused(who.format(**parts), " ".join((found["why"] or "").split()), advice)
    return None


def unreached_webhooks(message: str) -> Iterator[str]:
    """Admission webhooks that the server could not ask; while they do not answer it takes no such write."""
    yield from (found["name"] for found in _UNREACHED.finditer(message))
