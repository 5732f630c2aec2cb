"""Settings of the execution log in PostgreSQL."""

from __future__ import annotations

from pydantic import Field, SecretStr

from services.settings_base import Group


class History(Group):
    """A copy of what was run in PostgreSQL, for people who ask in SQL. Off until a URL is given."""

    url: SecretStr | None = Field(
        None, description="`postgresql://user:password@host/database`; left out, nothing is copied"
    )
    write_seconds: float = Field(2.0, gt=0, description="How long changes are gathered before they are written")
    catch_up_seconds: float = Field(300.0, gt=0, description="How often the graph is asked for what was missed")
