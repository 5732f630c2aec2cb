"""Answers leave without secrets, whichever view made them; records that were written by earlier releases included."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.masking import Masker, masker

_JSON, _HTML = "application/json", "text/html"


class MaskedAnswers:
    """Middleware that masks bodies of JSON and HTML. The page of metrics holds counts, and passes as it is.

    Args:
        app: what answers.
        masks: knows the secrets; that of this process unless given.
    """

    def __init__(self, app: ASGIApp, masks: Masker = masker) -> None:
        self._app = app
        self._masks = masks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        kind, body = "", bytearray()

        async def masked(message: Message) -> None:
            nonlocal start, kind
            if message["type"] == "http.response.start":
                kind = _kind(message)
                if kind in (_JSON, _HTML):
                    start = message  # its length is known once the body is whole
                    return
            if start is None or message["type"] != "http.response.body":
                await send(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            shown = self._shown(kind, bytes(body))
            headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
            await send({**start, "headers": [*headers, (b"content-length", str(len(shown)).encode())]})
            await send({"type": "http.response.body", "body": shown})

        await self._app(scope, receive, masked)

    def _shown(self, kind: str, body: bytes) -> bytes:
        text = body.decode("utf-8", "replace")
        shown = self._masks.json(text) if kind == _JSON and text else self._masks.text(text)
        return body if shown == text else shown.encode()


def _kind(start: Message) -> str:
    for name, value in start.get("headers", ()):
        if name.lower() == b"content-type":
            return bytes(value).decode("latin-1").partition(";")[0].strip().lower()
    return ""
