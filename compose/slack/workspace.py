"""Users, channels, messages and dialogs of the local Slack, and the methods of the Web API that change them."""

import itertools
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from compose.slack.rules import length, problems_of_message, problems_of_view, too_long

Json = dict[str, Any]

TEAM = "T0LOCAL"
APP = "A0LOCAL"
BOT = "B0LOCAL"
BOT_USER = "U0BOT"
_LONGEST_TEXT = 40_000


class SlackError(Exception):
    """An error as the Web API tells it."""

    def __init__(self, code: str, *problems: str) -> None:
        super().__init__(code)
        self.code = code
        self.problems = problems


@dataclass(slots=True)
class Message:
    """One message.

    Attributes:
        thread: ts of the message that its thread hangs on; empty outside threads.
        broadcast: it stands in a thread, and is shown in the channel too.
        edits: how often it was changed.
        to: the only one who sees it; empty for everybody.
    """

    channel: str
    ts: str
    text: str
    blocks: list[Json]
    thread: str = ""
    broadcast: bool = False
    edits: int = 0
    to: str = ""
    metadata: Json = field(default_factory=dict)

    def button(self, action_id: str) -> Json | None:
        """One of its buttons, with the id of its block."""
        for at, block in enumerate(self.blocks):
            for element in block.get("elements", ()) if block["type"] == "actions" else ():
                if element.get("action_id") == action_id:
                    return {"block_id": block.get("block_id", f"b{at}"), **element}
        return None


@dataclass(slots=True)
class Workspace:
    """Everything that the local Slack knows.

    Attributes:
        channels: id by name.
        users: as ``users.info`` tells them, by id.
        scopes: of the bot token.
        trigger_seconds: for so long a dialog may be opened after a click.
        views: dialogs that were opened, oldest first, each with its ``id`` and the ``user`` who sees it.
    """

    channels: dict[str, str] = field(default_factory=lambda: {"sre": "C0SRE", "payments": "C0PAY"})
    users: dict[str, Json] = field(default_factory=dict)
    scopes: set[str] = field(default_factory=lambda: {"chat:write", "users:read", "users:read.email"})
    trigger_seconds: float = 3.0
    messages: list[Message] = field(default_factory=list)
    views: list[Json] = field(default_factory=list)
    _triggers: dict[str, tuple[float, str]] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def add_user(self, user_id: str, name: str, email: str = "", **marks: Any) -> None:
        """Somebody with an account."""
        profile = {"real_name": name, "display_name": name, **({"email": email} if email else {})}
        self.users[user_id] = {
            "id": user_id,
            "team_id": TEAM,
            "name": name.lower(),
            "deleted": False,
            "is_bot": False,
            "is_restricted": False,
            "is_ultra_restricted": False,
            "is_email_confirmed": True,
            "profile": profile,
            **marks,
        }

    def trigger(self, user_id: str) -> str:
        """A trigger for a dialog, as it comes with a click."""
        number = f"{next(self._numbers)}.{secrets.token_hex(8)}"
        self._triggers[number] = (time.monotonic() + self.trigger_seconds, user_id)
        return number

    def find(self, channel: str, ts: str) -> Message | None:
        """A message that everybody sees."""
        return next((one for one in self.messages if (one.channel, one.ts, one.to) == (channel, ts, "")), None)

    # Methods of the Web API

    def method(self, name: str) -> Callable[[Json], Json] | None:
        """What a method does; None for one that is not known."""
        return {
            "auth.test": self._auth_test,
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "chat.postEphemeral": self._whisper,
            "views.open": self._open,
            "users.info": self._user,
        }.get(name)

    def _auth_test(self, _: Json) -> Json:
        return {"url": "http://local/", "team": "local", "user": "rootmend", "team_id": TEAM, "user_id": BOT_USER}

    def _post(self, given: Json) -> Json:
        self._needs("chat:write")
        channel = self._channel(given.get("channel"), names=True)
        text, blocks = self._content(given)
        thread = str(given.get("thread_ts") or "")
        if thread and self.find(channel, thread) is None:
            raise SlackError("thread_not_found")
        broadcast = bool(given.get("reply_broadcast")) and bool(thread)
        made = Message(channel, self._ts(), text, blocks, thread, broadcast, metadata=given.get("metadata") or {})
        self.messages.append(made)
        return {"channel": channel, "ts": made.ts, "message": self.told(made)}

    def _update(self, given: Json) -> Json:
        self._needs("chat:write")
        channel = self._channel(given.get("channel"), names=False)
        found = self.find(channel, str(given.get("ts")))
        if found is None:
            raise SlackError("message_not_found")
        found.text, found.blocks = self._content(given)
        found.edits += 1
        return {"channel": channel, "ts": found.ts, "text": found.text, "message": self.told(found)}

    def _whisper(self, given: Json) -> Json:
        self._needs("chat:write")
        channel = self._channel(given.get("channel"), names=True)
        if given.get("user") not in self.users:
            raise SlackError("user_not_in_channel")
        text, blocks = self._content(given)
        made = Message(channel, self._ts(), text, blocks, to=str(given["user"]))
        self.messages.append(made)
        return {"message_ts": made.ts}

    def _open(self, given: Json) -> Json:
        until, user = self._triggers.pop(str(given.get("trigger_id")), (None, ""))
        if until is None:
            raise SlackError("invalid_trigger_id")
        if time.monotonic() > until:
            raise SlackError("expired_trigger_id")
        if problems := problems_of_view(given.get("view")):
            raise SlackError("invalid_arguments", *problems)
        view = {"id": f"V{next(self._numbers)}", "team_id": TEAM, "app_id": APP, **given["view"]}
        self.views.append({**view, "user": user})
        return {"view": view}

    def _user(self, given: Json) -> Json:
        self._needs("users:read")
        found = self.users.get(str(given.get("user")))
        if found is None:
            raise SlackError("user_not_found")
        hidden = "users:read.email" not in self.scopes
        profile = {key: value for key, value in found["profile"].items() if not (hidden and key == "email")}
        return {"user": {**found, "profile": profile}}

    def _needs(self, scope: str) -> None:
        if scope not in self.scopes:
            raise SlackError("missing_scope")

    def _channel(self, wanted: object, *, names: bool) -> str:
        """The id of a channel. Names are taken for posting only, as in Slack."""
        if wanted in self.channels.values():
            return str(wanted)
        name = str(wanted or "").removeprefix("#")
        if names and name in self.channels:
            return self.channels[name]
        raise SlackError("channel_not_found")

    def _content(self, given: Mapping[str, Any]) -> tuple[str, list[Json]]:
        text, blocks = str(given.get("text") or ""), given.get("blocks") or []
        if not text and not blocks:
            raise SlackError("no_text")
        if length(text) > _LONGEST_TEXT:
            raise SlackError("msg_too_long")
        if problems := problems_of_message(blocks):
            raise SlackError("invalid_blocks", *problems)
        if too_long(blocks):
            raise SlackError("msg_blocks_too_long")
        return text, blocks

    def _ts(self) -> str:
        """Unique in the workspace, and growing."""
        return f"{int(time.time())}.{next(self._numbers):06}"

    def told(self, message: Message) -> Json:
        """A message as payloads carry it."""
        known: Json = {
            "type": "message",
            "user": BOT_USER,
            "bot_id": BOT,
            "app_id": APP,
            "ts": message.ts,
            "text": message.text,
            "blocks": message.blocks,
        }
        return known | ({"thread_ts": message.thread} if message.thread else {})
