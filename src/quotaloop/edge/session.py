"""A connection that carries several exchanges, each an attempt of its own: WebSocket, a data channel of WebRTC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from quotaloop.edge.arrival import Estimate
from quotaloop.edge.edge import Edge, _current
from quotaloop.edge.exchange import Exchange
from quotaloop.edge.refusal import Refused


class Session:
    """Whose connection it is, by the attempt that opened it; its exchanges have the same tenant, version and route."""

    def __init__(self, edge: Edge, opened_by: Exchange, *, protocol: str) -> None:
        self.edge, self.protocol = edge, protocol
        self._opened_by = opened_by
        self._live: set[Exchange] = set()
        self._unclaimed = 0  # bytes that came in and belong to the next exchange
        self._is_gone = False

    @property
    def is_gone(self) -> bool:
        """Has the peer left?"""
        return self._is_gone

    @asynccontextmanager
    async def exchange(self, estimate: Estimate, operation: str | None = None) -> AsyncIterator[Exchange]:
        """An attempt, as long as the block lasts; raises ``Refused`` where a limit says no.

        Left by an exception, its outcome is error, or cancelled where the peer has gone.
        """
        exchange = self._begin(operation)
        token = _current.set(exchange)
        try:
            await self.edge.reserve(exchange, estimate)
            self._live.add(exchange)
            yield exchange
            if self._by_peer():
                self.edge.end(exchange, 499, "cancelled")
            elif exchange.has_failed:
                self.edge.end(exchange, exchange.failed_status, "error")
            else:
                self.edge.end(exchange, 200, "ok")
        except Refused as refused:
            if exchange in self._live:  # the handler's own
                self.edge.end(exchange, 500, "error")
            else:
                self.edge.end(exchange, refused.status, refused.outcome)
            raise
        except (Exception, asyncio.CancelledError, GeneratorExit):
            gone = self._by_peer()
            self.edge.end(exchange, 499 if gone else 500, "cancelled" if gone else "error")
            raise
        finally:
            self._live.discard(exchange)
            with suppress(ValueError):  # a task that is thrown away ends in another context
                _current.reset(token)

    def received(self, size: int) -> None:
        """Count what came in: it belongs to the one exchange under way, else to the next."""
        if len(self._live) == 1:
            next(iter(self._live)).bytes_in += size
        else:
            self._unclaimed += size

    def sent(self, size: int) -> None:
        """Count a message that went out, where one exchange is under way; with several the handler counts."""
        if len(self._live) == 1:
            next(iter(self._live)).sent(size)

    def client_gone(self) -> None:
        """The peer left: what is under way is cancelled, not an error."""
        self._is_gone = True

    def _by_peer(self) -> bool:
        return self._is_gone and not self.edge.is_stopping

    def _begin(self, operation: str | None) -> Exchange:
        first = self._opened_by
        exchange = self.edge.arrive(first.arrival)
        exchange.tenant, exchange.api_key_id = first.tenant, first.api_key_id
        exchange.api_version, exchange.version_source = first.api_version, first.version_source
        exchange.route, exchange.operation = first.route, operation or first.operation
        exchange.protocol = self.protocol
        exchange.bytes_in, self._unclaimed = self._unclaimed, 0
        return exchange
