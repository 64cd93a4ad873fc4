"""The real gateway as a process of its own, over folders of its own, and the events that it has written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx

from examples.gateway.keys import make_keys
from quotaloop.events.event import Parsed
from quotaloop.events.parser import parse_line

PATIENCE_S = 30.0
_ROOT = Path(__file__).resolve().parents[3]
_MARKER = "marker"


class Gateway:
    """Started and ended as often as a test wants, over the same keys, spool and outbox; ports are free ones.

    ``url``, ``http2`` and ``grpc`` are where it is while it runs, ``keys`` the plain keys by tenant, ``settings`` its
    flags.
    """

    def __init__(self, folder: Path, tenants: Iterable[str], **settings: object) -> None:
        self.folder, self.spool, self.outbox = folder, folder / "spool", folder / "outbox"
        self.url = self.http2 = self.grpc = ""
        self.keys = make_keys(folder / "keys.json", [*tenants, _MARKER])
        self._settings = {"faults": 1, "port": 0, "http2_port": 0, "grpc_port": 0, **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "gateway.log"

    def start(self) -> None:
        """Start it, and wait until it says that requests are welcome."""
        ready = self.folder / "ready.json"
        folders = {"keys": self.folder / "keys.json", "spool": self.spool, "outbox": self.outbox}
        words = [f"--{name.replace('_', '-')}={value}" for name, value in (folders | self._settings).items()]
        with ready.open("wb") as out, self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "examples.gateway", "serve", *words],
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), str(_ROOT / "src")])},
                stdout=out,
                stderr=log,
            )
        wait_for(lambda: ready.read_bytes().endswith(b"\n") or self._process_is_over(), "the gateway's ready line")
        assert not self._process_is_over(), self.log
        told = json.loads(ready.read_bytes())
        self.url, self.http2 = (f"http://{told['host']}:{told[name]}" for name in ("port", "http2_port"))
        self.grpc = f"{told['host']}:{told['grpc_port']}"

    def terminate(self) -> None:
        """Ask it to end, and do not wait."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Ask it to end, and wait until it has; its exit code."""
        self.terminate()
        assert self._process is not None
        return self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        """End it at once; nothing where it is over."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> str:
        """What it has said on standard error."""
        return self._log.read_text()

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

    def _process_is_over(self) -> bool:
        return self._process is None or self._process.poll() is not None


def wait_for(holds: Callable[[], bool], what: str) -> None:
    """Until it holds; fails after ``PATIENCE_S``."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.02)
