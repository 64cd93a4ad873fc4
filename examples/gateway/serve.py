"""One process that serves the gateway by every protocol, from its first line to a clean end."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from examples.gateway import grpc_service
from examples.gateway.application import build
from examples.gateway.edge import build as build_edge
from examples.gateway.keys import Keys, read
from examples.gateway.listeners import bound, http1, http2
from examples.gateway.models.loaded import Models
from examples.gateway.parts import Parts
from examples.gateway.settings import Settings
from examples.gateway.slow_clients import Patience
from quotaloop.edge.asgi import Application, Metered
from quotaloop.edge.emitter.emitter import Emitter
from quotaloop.edge.emitter.folder import FolderOutlet
from quotaloop.edge.emitter.outlet import Outlet
from quotaloop.errors import UsageError
from quotaloop.hosts import in_address

_LOG = logging.getLogger("gateway")
_LAST_WORD_S = 0.5  # for a client to take that its answer is cut


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; the ports are told on standard output, as JSON, once requests are welcome.

    Then readiness says no, answers under way have ``graceful_s`` to end, what still goes on is cut and told so, and
    events are sent on. Raises ``InputUnreadable`` without keys, and ``OSError`` for a port that is taken.
    """
    stop = _stopped()
    keys = Keys(read(Path(settings.keys)))
    emitter = Emitter(Path(settings.spool), host=socket.gethostname(), outlet=_outlet(settings))
    edge, follower = build_edge(settings, keys, emitter)
    parts = Parts(settings=settings, edge=edge, models=Models(faults=settings.faults), follower=follower)
    app = build(parts)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(edge.close)
        if follower is not None:
            closing.callback(follower.start().stop)
        patience = Patience(Metered(app, edge), settings.slow_s)
        ports = await _listen(settings, parts, patience, closing)
        closing.push_async_callback(app.state.peers.close)
        await parts.models.train()
        parts.lifecycle.started()
        sys.stdout.write(json.dumps({"ready": True, "host": settings.host} | ports) + "\n")
        sys.stdout.flush()
        await stop.wait()
        if not await parts.lifecycle.drain(settings.graceful_s):
            _LOG.warning("answers still under way after %g s are cut", settings.graceful_s)
        edge.stopping()
        patience.ends_in(_LAST_WORD_S)
        await parts.lifecycle.cut()


async def _listen(settings: Settings, parts: Parts, app: Application, closing: AsyncExitStack) -> dict[str, int]:
    """Open what the settings name, to be closed in the end; the ports, by name."""
    ports: dict[str, int] = {}
    for name, port, listen in (("port", settings.port, http1), ("http2_port", settings.http2_port, http2)):
        if port >= 0:
            listener = bound(settings.host, port)
            ports[name] = int(listener.getsockname()[1])
            await closing.enter_async_context(listen(app, listener))
    if settings.grpc_port >= 0:
        server = grpc_service.server(parts)
        host = in_address(settings.host)
        try:
            ports["grpc_port"] = server.add_insecure_port(f"{host}:{settings.grpc_port}")
        except RuntimeError as error:
            raise UsageError(f"gRPC cannot listen at {host}:{settings.grpc_port}: is the port taken?") from error
        await server.start()
        closing.push_async_callback(server.stop, 0.5)
    return ports


def _stopped() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    return stop


def _outlet(settings: Settings) -> Outlet:
    if not settings.kafka_brokers:
        return FolderOutlet(Path(settings.outbox))
    from quotaloop.edge.emitter.kafka import KafkaOutlet
    from quotaloop.raw.kafka.access import Access

    return KafkaOutlet(Access(settings.kafka_brokers), settings.kafka_topic)
