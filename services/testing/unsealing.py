"""Recorded executions with what is encrypted in them, for a replay by somebody who has the keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from services.sealing import WITHHELD, KeyRing

Json = Mapping[str, Any]


def unsealed(execution: Json, ring: KeyRing) -> Json:
    """The execution with the plan and prior states as they were; what was never stored stays masked.

    Args:
        execution: as exported, with its envelopes under ``sealed``.
        ring: the keys of the installation that recorded it.

    Raises:
        SealError: a key is missing or another one, or an envelope was changed.
    """
    sealed = execution.get("sealed") or {}
    envelopes = sealed.get("before") or {}

    def opened(envelope: str, about: str) -> Any:
        return orjson.loads(ring.open(envelope, about))

    whole: dict[str, Any] = {key: value for key, value in execution.items() if key != "sealed"}
    if sealed.get("plan") not in (None, "", WITHHELD):
        whole["plan"] = opened(sealed["plan"], f"plan of {execution['id']}")
    whole["steps"] = [
        {**step, "before": opened(envelopes[step["id"]], f"before of {step['id']}")}
        if envelopes.get(step["id"], WITHHELD) != WITHHELD
        else step
        for step in execution["steps"]
    ]
    return whole
