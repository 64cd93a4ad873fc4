"""Envoy's rate limit service on this machine, over a Redis, and asked as a gateway asks it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from peers.redis_server import RedisServer

BINARIES = Path(__file__).resolve().parents[1] / "build/envoy/bin"
SERVICE = BINARIES / "service_cmd"
CHECKER = BINARIES / "config_check_cmd"
_PATIENCE_S = 20


class EnvoyServer:
    """One instance that reads its rules below ``root``; ``debug_url`` is where it tells what it has loaded."""

    def __init__(self, redis: RedisServer, root: Path, log: Path) -> None:
        self._redis, self._root, self._log = redis, root, log
        self._ports = dict(zip(("PORT", "GRPC_PORT", "DEBUG_PORT"), _free_ports(3), strict=True))
        self.debug_url = f"http://127.0.0.1:{self._ports['DEBUG_PORT']}"
        self._connection = http.client.HTTPConnection("127.0.0.1", self._ports["PORT"], timeout=_PATIENCE_S)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        environment = {
            "PATH": os.environ["PATH"],
            "USE_STATSD": "false",
            "REDIS_SOCKET_TYPE": "tcp",
            "REDIS_URL": f"127.0.0.1:{self._redis.port}",
            "RUNTIME_ROOT": str(self._root),
            "RUNTIME_SUBDIRECTORY": "ratelimit",
            "RUNTIME_IGNOREDOTFILES": "true",
            **{name: str(port) for name, port in self._ports.items()},
            **dict.fromkeys(("HOST", "GRPC_HOST", "DEBUG_HOST"), "127.0.0.1"),
        }
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen([SERVICE], env=environment, stdout=log, stderr=log)
        end = time.monotonic() + _PATIENCE_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the rate limit service does not answer: {self._log.read_text()[-2_000:]}")

    def kill(self) -> None:
        """End it at once."""
        self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def allows(self, domain: str, tenant: str, costs: Mapping[str, int], **scope: str) -> bool:
        """Ask as a gateway does."""
        status, _ = self.ask(domain, descriptors(tenant, costs, **scope))
        assert status in (200, 429), status
        return status == 200

    def ask(self, domain: str, descriptors: list[dict[str, Any]]) -> tuple[int, Any]:
        """The HTTP status and what the service says of each descriptor."""
        body = json.dumps({"domain": domain, "descriptors": descriptors})
        self._connection.request("POST", "/json", body)
        response = self._connection.getresponse()
        text = response.read()
        return response.status, json.loads(text)["statuses"] if response.status in (200, 429) else text

    def loaded(self) -> str:
        """Its rules as it prints them."""
        connection = http.client.HTTPConnection("127.0.0.1", self._ports["DEBUG_PORT"], timeout=_PATIENCE_S)
        try:
            connection.request("GET", "/rlconfig")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            self.loaded()
            self._connection.request("GET", "/healthcheck")
            return self._connection.getresponse().read() == b"OK"
        except OSError:
            self._connection.close()
            return False


def descriptors(tenant: str, costs: Mapping[str, int], *, model: str = "unknown", api_version: str = "v1") -> Any:
    """What a gateway asks for: four of each kind that the request takes something of."""
    scopes: tuple[dict[str, str], ...] = (
        {},
        {"model": model},
        {"api_version": api_version},
        {"model": model, "api_version": api_version},
    )
    return [
        {"entries": list(_entries({"kind": kind, **scope, "tenant": tenant})), "hitsAddend": str(cost)}
        for kind, cost in costs.items()
        if cost
        for scope in scopes
    ]


def _entries(pairs: Mapping[str, str]) -> Iterator[dict[str, str]]:
    return ({"key": key, "value": value} for key, value in pairs.items())


def _free_ports(count: int) -> list[int]:
    """Different ones, since all are held while they are chosen."""
    held = [socket.socket() for _ in range(count)]
    try:
        for free in held:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in held]
    finally:
        for free in held:
            free.close()
