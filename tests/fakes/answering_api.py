"""A door before the real API server that answers some requests by itself and lets all others through."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web
from yarl import URL

_REASONS = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
_KEPT = ("Authorization", "Accept", "Content-Type", "User-Agent")


@dataclass
class Answer:
    """What is answered instead of the server's own answer.

    Attributes:
        status: of HTTP.
        to: whether a request is meant, by its method and its path with the query.
        times: how often; the requests after that are let through.
        done: the server is asked all the same, and its answer is thrown away.
        headers: further ones.
        given: when each was given, by the clock of the loop.
    """

    status: int
    to: Callable[[str, str], bool]
    times: int = 1
    done: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    given: list[float] = field(default_factory=list)


class AnsweringApi:
    """Speaks plain HTTP to the pipeline and TLS to the server, with the pipeline's own credentials.

    Args:
        kubeconfig: of the pipeline.
        now: the clock of ``Answer.given``.

    Attributes:
        asked: method and path with the query of each request so far.
        page: the most objects of one page, whatever was asked for; 0 for as many as asked for.
    """

    def __init__(self, kubeconfig: str | Path, now: Callable[[], float]) -> None:
        self._config: dict[str, Any] = yaml.safe_load(Path(kubeconfig).read_text())
        self._now = now
        self._answers: list[Answer] = []
        self.asked: list[tuple[str, str]] = []
        self.page = 0

    async def __aenter__(self) -> Self:
        cluster = self._config["clusters"][0]["cluster"]
        self._server = cluster["server"]
        trusted = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted), auto_decompress=True)
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(application, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._http.close()

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here."""
        made = json.loads(json.dumps(self._config))
        for cluster in made["clusters"]:
            cluster["cluster"] = {"server": self.url}
        path.write_text(yaml.safe_dump(made))
        path.chmod(0o600)
        return path

    def answer(self, status: int, to: Callable[[str, str], bool], **more: Any) -> Answer:
        """Answer the next requests that are meant; see ``Answer``."""
        made = Answer(status, to, **more)
        self._answers.append(made)
        return made

    async def _serve(self, request: web.Request) -> web.Response:
        place = request.raw_path
        self.asked.append((request.method, place))
        chosen = next((a for a in self._answers if len(a.given) < a.times and a.to(request.method, place)), None)
        if chosen is not None:
            chosen.given.append(self._now())
            if chosen.done:
                await self._let_through(request, place)
            status = {"kind": "Status", "status": "Failure", "code": chosen.status, "message": "not today"}
            told = status | {"reason": _REASONS[chosen.status]}
            return web.json_response(told, status=chosen.status, headers=chosen.headers)
        return await self._let_through(request, place)

    async def _let_through(self, request: web.Request, place: str) -> web.Response:
        url = URL(self._server + place, encoded=True)
        if self.page and "limit" in url.query:
            url = url.update_query(limit=str(self.page))
        headers = {name: request.headers[name] for name in _KEPT if name in request.headers}
        sent = await request.read() or None
        async with self._http.request(
            request.method, url, headers=headers, data=sent, skip_auto_headers=("Content-Type",)
        ) as answer:
            body = await answer.read()
            return web.Response(status=answer.status, body=body, content_type=answer.content_type)
