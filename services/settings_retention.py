"""Settings of retention."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, field_validator

from runbooks.model import Duration
from services.settings_base import Group

_LEAST = timedelta(days=31)


class Retention(Group):
    """How long things are kept in the graph; the audit trail is pruned by hand alone."""

    executions: Duration | None = Field(
        None, description="Ended executions older than this are taken away, with proof; 31d at least, empty for never"
    )

    @field_validator("executions")
    @classmethod
    def _the_gate_still_counts(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value < _LEAST:
            raise ValueError("at least 31d: the gate counts executions of the last 30 days")
        return value
