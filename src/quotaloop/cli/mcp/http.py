"""Streamable HTTP: the server behind its door, served by uvicorn."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from quotaloop.cli.mcp.door import Bearer, Names, is_loopback
from quotaloop.errors import UsageError
from quotaloop.hosts import in_address

TOKEN = "QUOTALOOP_MCP_TOKEN"
PATH = "/mcp"
_SHORTEST = 16  # characters of a token
_GRACE_S = 5  # for answers that are under way when it is told to end


@dataclass(frozen=True, slots=True)
class Place:
    """Where it listens, and by which names and from which pages it may be asked; port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8765
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


def serve(server: MCPServer[Any], place: Place, token: str) -> None:
    """Serve until it is told to end; where it listens is said on standard error."""
    if not is_loopback(place.host):
        _say(f"warning: {place.host} is reached from other machines, and nothing here encrypts: put TLS before it")
    with _ended_by_sigterm(), listening(place) as listener:
        port = listener.getsockname()[1]
        host = in_address(place.host)
        _say(f"listening on http://{host}:{port}{PATH}")
        application = app(server, place, token)
        quiet: dict[str, Any] = {"log_level": "warning", "access_log": False, "server_header": False}
        config = uvicorn.Config(
            application, ws="none", proxy_headers=False, timeout_graceful_shutdown=_GRACE_S, **quiet
        )
        uvicorn.Server(config).run(sockets=[listener])


def app(server: MCPServer[Any], place: Place, token: str) -> ASGIApp:
    """The server as an ASGI application; pages of the named origins may ask it."""
    names = TransportSecuritySettings(enable_dns_rebinding_protection=False)  # the door sees to it, on every path
    inner: ASGIApp = server.streamable_http_app(
        streamable_http_path=PATH, stateless_http=True, transport_security=names, host=place.host
    )
    inner = Bearer(inner, token=token)
    if place.origins:
        inner = CORSMiddleware(
            inner, allow_origins=place.origins, allow_methods=["GET", "POST", "DELETE"], allow_headers=["*"]
        )
    return Names(inner, hosts=(place.host, *place.hosts), origins=place.origins)


def listening(place: Place) -> socket.socket:
    """A socket that listens there; raises ``UsageError`` where that is not possible."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    try:
        return socket.create_server((place.host, place.port), family=family)
    except (OSError, OverflowError) as error:
        raise UsageError(f"cannot listen on {place.host}, port {place.port}: {error}") from error


def token_of(file: Path | None) -> str:
    """The token, from its file or else the environment; raises ``UsageError`` without one, or for one that is short."""
    try:
        found = file.read_text(encoding="utf-8").strip() if file else os.environ.get(TOKEN, "").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token's file {file} cannot be read: {error}") from error
    if not found:
        raise UsageError(f"--http needs a token: name its file with --token-file, or set {TOKEN}")
    if len(found) < _SHORTEST or not found.isascii() or not found.isprintable() or " " in found:
        raise UsageError(f"the token is too weak: {_SHORTEST} characters or more of ASCII, without spaces")
    return found


class _Told(BaseException):
    """SIGTERM came."""


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """To be told to end is no failure: uvicorn, which raises the signal again when it has ended, would be killed."""

    def told(*_: object) -> None:
        raise _Told

    before = signal.signal(signal.SIGTERM, told)
    try:
        yield
    except _Told:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(text: str) -> None:
    sys.stderr.write(f"quotaloop mcp: {text}\n")
    sys.stderr.flush()
