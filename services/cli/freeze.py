"""``rb freeze list``: periods in which nothing is changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from services.freezes import FreezeBook
    from services.settings import Settings


def freeze_list(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    """List the freezes of the settings and of the calendars that they name: which are in force, and which come next.

    Calendars are read now. Gives 1 when one of them cannot be read: the pipeline then counts it as a freeze as soon as
    what it read last is older than gate.freeze_max_age.

    Examples:
      rb freeze list
      rb freeze list --json
    """
    found = runtime.run(_read(runtime.settings_for()))
    if as_json:
        runtime.print_json(found)
    else:
        rows = [
            (
                one["name"],
                "in force" if one["in_force"] else "",
                one["until"] or one["next"],
                one["source"],
                one["reason"],
            )
            for one in found["freezes"]
        ]
        runtime.print_table(("freeze", "now", "until / next", "source", "why"), rows, "no freezes are configured")
        for calendar in found["calendars"]:
            if calendar["problem"]:
                runtime.note(f"{calendar['source']} cannot be read: {calendar['problem']}")
    return 1 if any(calendar["problem"] for calendar in found["calendars"]) else 0


async def _read(settings: Settings) -> dict[str, Any]:
    from services import logs  # noqa: PLC0415 - keeps rb --help quick
    from services.clock import SystemClock  # noqa: PLC0415 - as above
    from services.connections import freeze_book  # noqa: PLC0415 - as above
    from services.outgoing.opening import service_client  # noqa: PLC0415 - as above

    logs.configure("error", settings.logging.format)
    http = service_client(settings)
    try:
        book = freeze_book(settings, http, SystemClock())
        await book.refresh()
        return listed(book, datetime.now(UTC))
    finally:
        await http.close()


def listed(book: FreezeBook, now: datetime) -> dict[str, Any]:
    """The freezes with where they stand, those in force first, and the calendars with how reading them went."""
    from executor.freezes import begins, in_force  # noqa: PLC0415 - keeps rb --help quick

    rows = []
    for freeze in [*book.freezes, *(one for each in book.calendars for one in each.freezes)]:
        current = next(iter(in_force([freeze], now)), None)
        following = begins(freeze, now)
        rows.append(
            {
                "name": freeze.name,
                "in_force": current is not None,
                "until": (current.until or "further notice") if current else "",
                "next": following.isoformat() if following else "",
                "source": freeze.source,
                "reason": freeze.reason,
            }
        )
    calendars = [
        {"source": one.source, "read_at": one.read_at, "problem": one.problem, "freezes": len(one.freezes)}
        for one in book.calendars
    ]
    ordered = sorted(rows, key=lambda row: (not row["in_force"], str(row["next"]) or "~"))
    return {"freezes": ordered, "calendars": calendars}
