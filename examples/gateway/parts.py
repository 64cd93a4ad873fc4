"""What one gateway is made of; handlers get it, tests make it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi.requests import HTTPConnection

from examples.gateway.lifecycle import Lifecycle
from examples.gateway.models.loaded import Models
from examples.gateway.schemas import Asked
from examples.gateway.settings import Settings
from examples.gateway.streaming import Mark, Reply, begin
from quotaloop.edge import Edge, Exchange
from quotaloop.edge.follow import Follower


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All that lives as long as the gateway does."""

    settings: Settings
    edge: Edge
    models: Models
    follower: Follower | None = None
    lifecycle: Lifecycle = field(default_factory=Lifecycle)

    async def begin(self, asked: Asked, exchange: Exchange, mark: Mark | None = None) -> Reply:
        """An answer of the text model, at this gateway's pace."""
        return await begin(self.models, asked, exchange, self.lifecycle, self.settings.pace_ms, mark)


def parts_of(connection: HTTPConnection) -> Parts:
    """The parts of the application that serves this connection; for ``Depends``."""
    found = connection.app.state.parts
    assert isinstance(found, Parts)
    return found
