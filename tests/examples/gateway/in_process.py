"""The gateway's application in the process of a test: the real edge and models, events in a list."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import httpx

from examples.gateway.application import create
from examples.gateway.edge import build
from examples.gateway.keys import Keys
from examples.gateway.models.loaded import Models
from examples.gateway.parts import Parts
from examples.gateway.settings import Settings
from quotaloop.edge import Arrival, Identity
from quotaloop.edge.asgi import Metered

KEY = "of-acme"
AUTHORIZED = {"authorization": f"Bearer {KEY}"}
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "What is a class?"}], "max_tokens": 12, "seed": 7}


class Written:
    """Takes events; ``events`` are those written so far."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def write(self, event: dict[str, Any]) -> None:
        """Keep it."""
        self.events.append(event)

    def close(self, timeout_s: float = 0) -> None:
        """Nothing is to be sent on."""


class _OneKey(Keys):
    def __init__(self) -> None:
        super().__init__([])

    def identify(self, arrival: Arrival) -> Identity | None:
        return Identity("acme", "k1") if arrival.header(b"authorization") == f"Bearer {KEY}" else None


class InProcess:
    """One gateway that is ready, without a server."""

    def __init__(self, *, trained: bool = True, **settings: Any) -> None:
        self.written = Written()
        found = Settings(**{"faults": True, **settings})
        edge, _ = build(found, _OneKey(), self.written)
        self.parts = Parts(settings=found, edge=edge, models=_trained() if trained else Models())
        if trained:
            self.parts.lifecycle.started()
        self.app: Metered = create(self.parts)

    @property
    def event(self) -> dict[str, Any]:
        """The one event there is."""
        (event,) = self.written.events
        return event

    def ask(self, method: str, path: str, *, key: str | None = KEY, **more: Any) -> httpx.Response:
        """One request, answered as a whole."""
        headers = {**({"authorization": f"Bearer {key}"} if key else {}), **more.pop("headers", {})}

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                return await client.request(method, path, headers=headers, **more)

        return asyncio.run(asked())

    def converse(self, path: str = "/api/v2/conversation", **changed: Any) -> httpx.Response:
        """Ask for a conversation."""
        headers = changed.pop("headers", {})
        return self.ask("POST", path, json=ASKED | changed, headers=headers)


def status_of(response: httpx.Response) -> int:
    """The status of a problem that is whole."""
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == response.status_code
    assert response.json()["title"]
    return response.status_code


@cache
def _trained() -> Models:
    models = Models(faults=True)
    asyncio.run(models.train())
    return models
