"""Who is let in over HTTP: a known Host, no foreign Origin, and the bearer token."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Names:
    """Refuses a request whose Host is not a name of this server, as after DNS rebinding, or whose Origin is foreign."""

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._app = app
        self._hosts = LOOPBACK | frozenset(map(str.lower, hosts))
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with 421 or 403, or go on."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            said = headers.getlist("host")
            if len(said) != 1 or _name(said[0]) not in self._hosts:
                await PlainTextResponse("this is not a name of the server", 421)(scope, receive, send)
                return
            if not self._origins.issuperset(headers.getlist("origin")):
                await PlainTextResponse("this origin is not allowed", 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Bearer:
    """Refuses a request without the token; tokens are compared by their hashes, in constant time."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._digest = _digest(token.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with 401, or go on."""
        if scope["type"] == "http" and not self._is_right(Headers(scope=scope).getlist("authorization")):
            challenge = {"WWW-Authenticate": 'Bearer realm="quotaloop"'}
            await PlainTextResponse("a bearer token is needed", 401, challenge)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_right(self, said: list[str]) -> bool:
        scheme, _, token = said[0].partition(" ") if len(said) == 1 else ("", "", "")
        return hmac.compare_digest(_digest(token.encode("latin-1")), self._digest) and scheme.lower() == "bearer"


def is_loopback(host: str) -> bool:
    """Is it reached from this machine alone?"""
    try:
        return host in LOOPBACK or ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """The name in a Host header, without its port; empty where it cannot be read."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
