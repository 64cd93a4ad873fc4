"""The real gateway as a process of its own, over folders of its own, and the events that it has written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx

from examples.gateway.keys import make_keys
from examples.gateway.process import GatewayProcess
from quotaloop.events.event import Parsed
from quotaloop.events.parser import parse_line

PATIENCE_S = 30.0
_MARKER = "marker"


class Gateway(GatewayProcess):
    """Started and ended as often as a test wants, over the same keys, spool and outbox; ports are free ones.

    ``keys`` are the plain keys by tenant, ``settings`` its flags.
    """

    def __init__(self, folder: Path, tenants: Iterable[str], **settings: object) -> None:
        self.spool, self.outbox = folder / "spool", folder / "outbox"
        self.keys = make_keys(folder / "keys.json", [*tenants, _MARKER])
        folders = {"keys": folder / "keys.json", "spool": self.spool, "outbox": self.outbox}
        ports = {"port": 0, "http2_port": 0, "grpc_port": 0}
        super().__init__(folder, {**folders, "faults": 1, **ports, **settings}, patience_s=PATIENCE_S)

    def events(self) -> list[dict[str, Any]]:
        """All events in the outbox, in the order of their numbers; each is one to the strict parser, too."""
        found = []
        for path in sorted(self.outbox.glob("*.jsonl")):
            for line in path.read_bytes().splitlines():
                parsed = parse_line(line)
                assert isinstance(parsed, Parsed), (parsed, line)
                assert parsed.unknown_fields == (), line
                found.append(json.loads(line))
        return found

    def events_of(self, tenant: str, count: int) -> list[dict[str, Any]]:
        """A tenant's events, once there are ``count`` and all that ended by then are in the outbox."""
        end = time.monotonic() + PATIENCE_S
        while True:
            self._flush()
            if len(found := self._of(tenant)) >= count:
                return found
            assert time.monotonic() < end, f"{count} events of {tenant} did not come; there are {found}"

    def _flush(self) -> None:
        """Events are numbered in the order they end in: when that of one more request is there, all before are."""
        before = len(self._of(_MARKER))
        headers = {"authorization": f"Bearer {self.keys[_MARKER]}"}
        answer = httpx.get(f"{self.url}/api/v2/models", headers=headers, trust_env=False)
        assert answer.status_code in (200, 429), self.log
        wait_for(lambda: len(self._of(_MARKER)) > before, "the marker's event")

    def _of(self, tenant: str) -> list[dict[str, Any]]:
        return [event for event in self.events() if event["tenant"] == tenant]


def wait_for(holds: Callable[[], bool], what: str) -> None:
    """Until it holds; fails after ``PATIENCE_S``."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.02)
