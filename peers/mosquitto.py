"""A mosquitto of this machine, with a folder of its own that it keeps its sessions in."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

_PATIENCE_S = 20
_BETWEEN_S = 0.02  # of two tries to connect
_SBIN = ("/usr/sbin", "/usr/local/sbin")  # where Debian puts it, and what is not on the PATH of ordinary users


def program() -> str | None:
    """Where the broker lies on this machine; None where it is not installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=os.pathsep.join(_SBIN))


class Mosquitto:
    """One broker on a port of its own; ``lines`` are settings of it. As a context, it runs as long as that lasts."""

    def __init__(self, folder: Path, lines: Iterable[str] = ("allow_anonymous true",)) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        settings = [
            "per_listener_settings false",
            "user root",  # as who it is started, if that is root: the folder is not its own user's
            "persistence true",
            f"persistence_location {folder}/",
            "max_queued_messages 0",
            f"listener {self.port} 127.0.0.1",
            *lines,
        ]
        (folder / "mosquitto.conf").write_text("\n".join(settings) + "\n", encoding="utf-8")

    def start(self, patience_s: float = _PATIENCE_S) -> None:
        """Start it over what it has kept, and wait until it answers; raises ``RuntimeError``, and has ended it then."""
        with (self.folder / "mosquitto.log").open("ab") as log:
            command = [program() or "mosquitto", "-c", str(self.folder / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + patience_s
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"mosquitto does not answer: {(self.folder / 'mosquitto.log').read_text()[-2000:]}")
            time.sleep(_BETWEEN_S)

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def end(self) -> None:
        """Let it write down what it holds, and end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._send(signal.SIGKILL)

    def stop(self) -> None:
        """Let it answer nothing, until ``go_on``."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(_PATIENCE_S)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True
