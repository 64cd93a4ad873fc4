"""The gateway as a process of its own, for whoever starts it from Python."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from quotaloop.errors import ServiceUnreachable
from quotaloop.hosts import in_address

_ROOT = Path(__file__).resolve().parents[2]
_LOOK_S = 0.02


class GatewayProcess:
    """Started and ended as often as one wants, by these settings; ports of 0 are free ones, other each time.

    ``url``, ``http2`` and ``grpc`` are where it is while it runs. What it says on standard error is added to
    ``gateway.log`` in ``folder``.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object], *, patience_s: float = 30.0) -> None:
        self.folder, self.url, self.http2, self.grpc = folder, "", "", ""
        self._settings, self._patience_s = dict(settings), patience_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it has said on standard error."""
        return (self.folder / "gateway.log").read_text()

    @property
    def is_over(self) -> bool:
        """Does no process of it run?"""
        return self._process is None or self._process.poll() is not None

    def start(self) -> None:
        """Start it, and wait until requests are welcome; raises ``ServiceUnreachable`` where it does not come up."""
        ready = self.folder / "ready.json"
        words = [f"--{name.replace('_', '-')}={value}" for name, value in self._settings.items()]
        with ready.open("wb") as out, (self.folder / "gateway.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "examples.gateway", "serve", *words],
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), str(_ROOT / "src")])},
                stdout=out,
                stderr=log,
            )
        end_s = time.monotonic() + self._patience_s
        while not ready.read_bytes().endswith(b"\n"):
            if self.is_over or time.monotonic() > end_s:
                self.kill()
                raise ServiceUnreachable(f"the gateway does not come up: {self.log[-2_000:]}")
            time.sleep(_LOOK_S)
        told = json.loads(ready.read_bytes())
        host = in_address(told["host"])
        self.url, self.http2 = (f"http://{host}:{told.get(name)}" for name in ("port", "http2_port"))
        self.grpc = f"{host}:{told.get('grpc_port')}"

    def terminate(self) -> None:
        """Ask it to end, and do not wait."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Ask it to end, and wait until it has; its exit code."""
        self.terminate()
        assert self._process is not None
        return self._process.wait(self._patience_s)

    def kill(self) -> None:
        """End it at once, as a power cut would; nothing where it is over."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
