"""A lease: who of several processes on one store works, so that two do not do the same.

It saves work and protects nothing: a holder that slept past its end may wake and go on. What makes that safe are
claims, numbered releases and names that inputs decide.

``leases/<name>/<10-digit number>.json`` is taken by being renamed in if absent; its holder replaces it to live on, and
removes it at the end. Where the newest has ended without that, the next number is taken.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from quotaloop.errors import QuotaloopError
from quotaloop.storage.store import Store

_NUMBERED = re.compile(r"leases/[^/]+/([0-9]{10})\.json")
_BEATS = 3  # times a lease's length that it is renewed


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease, and until when (epoch ms); ``began`` tells a process from a later one of the same number."""

    host: str
    pid: int
    began: str
    until_ms: int

    @property
    def is_gone(self) -> bool:
        """Did it end without a word? That is known of processes of this machine alone."""
        return self.host == socket.gethostname() and _began(self.pid) not in (self.began, "")


class Taken(QuotaloopError):
    """Somebody else holds the lease."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(f"another run is at work (process {holder.pid} on {holder.host})")
        self.holder = holder


@contextmanager
def lease(store: Store, name: str, *, length_ms: int, clock: Callable[[], float] = time.time) -> Iterator[None]:
    """Hold the lease and renew it from a thread; raises ``Taken`` where another one holds it and is alive.

    With a length of 0 nothing is held.
    """
    if length_ms == 0:
        yield
        return
    number, last = _newest(store, name)
    if last is not None and last.until_ms > clock() * 1000 and not last.is_gone:
        raise Taken(last)
    mine = _Mine(store, f"leases/{name}/{number + 1:010d}.json", length_ms, clock)
    if not store.write_if_absent(mine.path, mine.document()):
        raise Taken(_read(store, mine.path) or mine.holder)
    done = threading.Event()
    renewing = threading.Thread(target=mine.renew, args=(done,), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()
        with suppress(QuotaloopError, OSError):  # where the store is away, the lease ends by itself
            mine.end()


@dataclass(frozen=True, slots=True)
class _Mine:
    """The lease that this process has taken."""

    store: Store
    path: str
    length_ms: int
    clock: Callable[[], float]

    @property
    def holder(self) -> Holder:
        until_ms = int(self.clock() * 1000) + self.length_ms
        return Holder(socket.gethostname(), os.getpid(), _began(os.getpid()), until_ms)

    def document(self) -> bytes:
        return (json.dumps(asdict(self.holder), sort_keys=True) + "\n").encode()

    def renew(self, done: threading.Event) -> None:
        """Again and again, until it is done or somebody else has taken over."""
        while not done.wait(self.length_ms / 1000 / _BEATS):
            with suppress(QuotaloopError, OSError):  # the work itself will say that the store is away, or full
                if not self._is_ours():
                    return
                self.store.replace(self.path, self.document())

    def end(self) -> None:
        """Remove it, and those before it, whose holders have gone; not where somebody else has taken over."""
        if self._is_ours():
            for info in self.store.files(self.path.rpartition("/")[0]):
                if info.path <= self.path:
                    self.store.delete(info.path)

    def _is_ours(self) -> bool:
        there = _read(self.store, self.path)
        return there is not None and replace(there, until_ms=0) == replace(self.holder, until_ms=0)


def _newest(store: Store, name: str) -> tuple[int, Holder | None]:
    paths = [info.path for info in store.files(f"leases/{name}") if _NUMBERED.fullmatch(info.path)]
    if not paths:
        return 0, None
    return int(paths[-1][-15:-5]), _read(store, paths[-1])


def _read(store: Store, path: str) -> Holder | None:
    try:
        return Holder(**json.loads(store.read(path)))
    except FileNotFoundError:
        return None


def _began(pid: int) -> str:
    """When a process began, as the kernel counts; empty where that cannot be known, ``-`` where there is none."""
    if not Path("/proc/self/stat").exists():
        return ""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "-"
