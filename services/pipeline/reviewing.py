"""Leaving out what nobody has reviewed: it stays among the candidates, with the reason why it lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from executor.model import Plan
from matcher.lots import Lot
from runbooks.model import LoadedRunbook
from safety.model import Refusal
from services.pipeline.standings import InForce, Key, key_of
from services.signing.reviewed import WhyNot

UNSIGNED = "unsigned"
"""The runbook, or one that it calls, was not reviewed as the settings ask for."""


def nobody_asks(loaded: LoadedRunbook) -> str:  # noqa: ARG001 - shape of WhyNot
    """The settings want no review."""
    return ""


@dataclass(frozen=True, slots=True)
class Sorted:
    """The versions in force, and those that were left out with the reason."""

    in_force: InForce
    left_out: Mapping[Key, str]


def reviewed_only(found: InForce, why_not: WhyNot) -> Sorted:
    """The versions in force without those that were not reviewed.

    Args:
        found: as folders and graph have it.
        why_not: why a runbook may not be executed.
    """
    left_out = {key_of(one): why for one in found.versions if (why := why_not(one))}
    if not left_out:
        return Sorted(found, {})
    lots = {**found.lots, **{key: Lot(end=0.0, why=why) for key, why in left_out.items()}}
    single = {name: one for name, one in found.single.items() if not why_not(one)}
    remarks = (*found.remarks, *(f"left out: {why}" for why in left_out.values()))
    kept = replace(found, lots=MappingProxyType(lots), single=MappingProxyType(single), remarks=remarks)
    return Sorted(kept, left_out)


def refusal_of(loaded: LoadedRunbook, why_not: WhyNot) -> Refusal | None:
    """The refusal of a runbook that was not reviewed; it does not pass by itself."""
    why = why_not(loaded)
    return Refusal(UNSIGNED, why, {"runbook": loaded.runbook.id, "sha": loaded.sha}) if why else None


def refusal_of_called(plan: Plan, known: Mapping[str, LoadedRunbook], why_not: WhyNot) -> Refusal | None:
    """The refusal of a plan that calls a runbook that was not reviewed.

    Args:
        plan: names what it calls with its version and hash.
        known: the runbooks in force; one that is no longer among them in that version is not known as reviewed.
        why_not: as above.
    """
    if why_not is nobody_asks:
        return None
    for told in dict.fromkeys(plan.called.values()):
        name, _, rest = told.partition(" ")
        loaded = known.get(name)
        if loaded is None or loaded.sha != rest.rpartition(" ")[2]:
            why = f"{name}, which it calls, was changed or left out just now"
            return Refusal(UNSIGNED, why, {"runbook": name})
        if refusal := refusal_of(loaded, why_not):
            return replace(refusal, message=f"it calls {refusal.message}")
    return None
