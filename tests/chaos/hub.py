"""A counting HTTP server: the other side of webhooks, of notifications, and of Slack."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(slots=True)
class Hub:
    """What was asked of it.

    Attributes:
        url: its address.
        keys: idempotency keys of the calls, one for each call, by what they were about.
        told: messages of notifications, by moment and app.
        posted: messages in Slack.
        hold: seconds that a call to ``/effect`` waits before it is answered, so that something may happen meanwhile.
    """

    url: str = ""
    keys: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    told: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    posted: list[str] = field(default_factory=list)
    hold: float = 0.0

    async def effect(self, request: web.Request) -> web.Response:
        """A webhook: it has happened when it is counted."""
        self.keys[request.match_info["about"]].append(request.headers.get("Idempotency-Key", ""))
        await asyncio.sleep(self.hold)
        return web.json_response({"ok": True})

    async def tell(self, request: web.Request) -> web.Response:
        """A notification."""
        self.told[request.match_info["about"]] += 1
        return web.json_response({"ok": True})

    async def slack(self, request: web.Request) -> web.Response:
        """Slack's API, as far as messages need it."""
        self.posted.append(f"{request.match_info['method']} {await request.text()}")
        return web.json_response({"ok": True, "channel": "C1", "ts": f"{len(self.posted)}.0", "message_ts": "1.0"})


@asynccontextmanager
async def hub() -> AsyncIterator[Hub]:
    """A counting server on loopback."""
    one = Hub()
    app = web.Application()
    app.add_routes(
        [
            web.post("/effect/{about}", one.effect),
            web.post("/told/{about}", one.tell),
            web.post("/api/{method}", one.slack),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    one.url = f"http://{host}:{port}"
    try:
        yield one
    finally:
        await runner.cleanup()
