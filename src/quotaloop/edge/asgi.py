"""ASGI middleware that meters HTTP, SSE and WebSocket; it knows no framework and buffers no answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from quotaloop.edge.asgi_http import HttpAttempt
from quotaloop.edge.asgi_websocket import WebSocketAttempt
from quotaloop.edge.edge import Edge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Metered:
    """An application under limits; every attempt ends as one event.

    Put it around the whole application, outside of what answers by itself (such as CORS) only if those answers are to
    be counted. When the server shuts down, attempts under way are waited for as long as the server lets them run.
    """

    def __init__(self, app: Application, edge: Edge) -> None:
        self.app, self.edge = app, edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection or request."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        matched = self.edge.match(_below(scope.get("root_path", ""), scope["path"]))
        if not matched.route.metered:
            await self.app(scope, receive, send)
        elif kind == "http":
            await HttpAttempt(self.app, self.edge, scope, matched, receive, send).serve()
        else:
            await WebSocketAttempt(self.app, self.edge, scope, matched, receive, send).serve()

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's own; when it has shut down, the edge closes. Who has none calls ``Edge.close``."""

        async def send_last(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                self.edge.stopping()
                await self.edge.close()
            await send(message)

        await self.app(scope, receive, send_last)


def _below(root: str, path: str) -> str:
    """The path as the application sees it that is mounted at ``root``.

    >>> _below("/api", "/api/chat"), _below("/api/", "/api/chat"), _below("/api", "/apix/chat")
    ('/chat', '/chat', '/apix/chat')
    """
    root = root.rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path
