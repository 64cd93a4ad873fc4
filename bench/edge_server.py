"""The example gateway in one process, with its edge or without, until its standard input ends.

``python -m bench.edge_server metered|bare FOLDER`` prints its port. Bare, a request gets what handlers write down their
figures on, and nothing else: no limits, no versions, no events.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from examples.gateway.application import build
from examples.gateway.edge import build as build_edge
from examples.gateway.keys import Keys
from examples.gateway.listeners import bound, http1
from examples.gateway.models.loaded import Models
from examples.gateway.parts import Parts
from examples.gateway.settings import Settings
from examples.gateway.slow_clients import Patience
from quotaloop.edge import Arrival, Edge, Identity
from quotaloop.edge.asgi import Metered
from quotaloop.edge.edge import _current
from quotaloop.edge.emitter.emitter import Emitter
from quotaloop.edge.emitter.folder import FolderOutlet


class _OneKey(Keys):
    """Everybody is one tenant: keys take time that is not the edge's."""

    def __init__(self) -> None:
        super().__init__([])

    def identify(self, _: Arrival) -> Identity:
        """The same for all."""
        return Identity("acme")


class _Bare:
    def __init__(self, app: Any, edge: Edge) -> None:
        self._app, self._edge = app, edge

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        arrival = Arrival(protocol="http", method="POST", path=scope["path"], raw_headers=scope["headers"])
        token = _current.set(self._edge.arrive(arrival))
        try:
            await self._app(scope, receive, send)
        finally:
            _current.reset(token)


async def _serve(kind: str, folder: Path) -> None:
    amount = 1_000_000_000
    settings = Settings(safe_requests=amount, safe_tokens=amount, safe_compute=amount, safe_concurrency=10_000)
    emitter = Emitter(folder / "spool", host="bench", outlet=FolderOutlet(folder / "outbox"))
    edge, _ = build_edge(settings, _OneKey(), emitter)
    parts = Parts(settings=settings, edge=edge, models=Models(faults=False))
    await parts.models.train()
    parts.lifecycle.started()
    app = {"metered": Metered, "bare": _Bare}[kind](build(parts), edge)
    listener = bound("127.0.0.1", 0)
    port = listener.getsockname()[1]
    async with http1(Patience(app, settings.slow_s), listener):
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    await edge.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], Path(sys.argv[2])))
