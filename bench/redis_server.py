"""A Redis of this machine, for as long as a measurement lasts."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

_PATIENCE_S = 20


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Its address; it keeps nothing and is ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL) as process:
        try:
            _wait(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()


def _wait(port: int) -> None:
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            Redis(port=port).ping()
        except RedisError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
