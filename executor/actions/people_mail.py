"""Send mail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from executor.actions.base import Params, Stamp, World
from executor.actions.needs import NO_RIGHTS
from executor.actions.people import Message
from executor.people_ports import Mail

_MOST = 50
Address = Annotated[str, Field(pattern=r"^[^@\s<>,;:\"]+@[^@\s<>,;:\"]+$")]


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Addresses = Annotated[tuple[Address, ...], BeforeValidator(_listed), Field(max_length=_MOST)]


class EmailParams(Params):
    """Parameters of ``email``."""

    to: Addresses = Field((), description="Addresses; left out, the setting `mail.to`")
    cc: Addresses = Field((), description="Addresses that get a copy")
    subject: str = Field(min_length=1, description="One line")
    message: str = Field(min_length=1, description="Plain text")


class Email(Message):
    """Send a mail. It is never sent twice: after a crash it may be missing."""

    name = "email"
    aliases = ("send_email", "notification/email")
    params_model = EmailParams
    rights = NO_RIGHTS
    example = """\
action: email
params: {to: [sre@example.com], subject: "{{ target.name }} restarted", message: "Cause: {{ incident.reason }}"}
"""

    async def send(self, params: EmailParams, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """Hand it over."""
        mail = Mail(params.subject, params.message, f"{stamp.execution}/{stamp.step}", params.to, params.cc)
        sent = await world.people.mailer.send(mail)
        return {"message_id": sent.message_id, "to": list(sent.recipients), "refused": list(sent.refused)}
