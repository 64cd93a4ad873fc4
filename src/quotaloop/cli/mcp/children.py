"""The processes in which statements of clients run: ended with a statement that takes too long or is not waited for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from dataclasses import dataclass, field, fields
from typing import Any

from quotaloop import errors
from quotaloop.errors import QuotaloopError, UsageError
from quotaloop.settings import Settings

_KEPT = 1  # processes that wait for the next statement, so that it need not wait for their imports

Process = subprocess.Popen[bytes]


class Children:
    """Processes that wait for statements; they end with the server, however it ends."""

    def __init__(self) -> None:
        self._waiting: list[Process] = []
        self._lock = threading.Lock()
        weakref.finalize(self, _end_all, self._waiting)

    def take(self) -> Process:
        """A process that does nothing."""
        with self._lock:
            while self._waiting:
                process = self._waiting.pop()
                if process.poll() is None:
                    return process
                _end(process)
        return _started()

    def give_back(self, process: Process) -> None:
        """Keep a process that has answered, or end it where enough are kept."""
        with self._lock:
            if len(self._waiting) < _KEPT:
                self._waiting.append(process)
                return
        _end(process)


@dataclass
class Statement:
    """One statement, to be answered in one thread and stopped from another."""

    children: Children
    settings: Settings
    statement: str
    max_rows: int
    timeout_s: float
    _process: Process | None = None
    _stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self) -> dict[str, Any]:
        """The document of ``select``; raises what it raises, and ``UsageError`` for what takes too long."""
        process = self._begun()
        reply = b""
        try:
            reply = _exchanged(process, self._request())
        finally:
            with self._lock:
                self._process = None  # from here on it is not this statement's to stop
            if not reply.endswith(b"\n"):
                _end(process)
        if not reply.endswith(b"\n"):
            if not self._stopped:
                self.children.give_back(_started())  # its imports go on while nobody waits
            raise UsageError(self._why(process.returncode))
        self.children.give_back(process)
        return _document(json.loads(reply))

    def stop(self) -> None:
        """End its process, or see to it that none begins."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def _begun(self) -> Process:
        process = self.children.take()
        with self._lock:
            if not self._stopped:
                self._process = process
                return process
        self.children.give_back(process)
        raise UsageError("sql: cancelled")

    def _request(self) -> bytes:
        settings = {item.name: getattr(self.settings, item.name) for item in fields(self.settings) if item.repr}
        asked = {"statement": self.statement, "max_rows": self.max_rows, "timeout_s": self.timeout_s}
        return json.dumps({"settings": settings, **asked}).encode() + b"\n"

    def _why(self, code: int) -> str:
        if code == -signal.SIGALRM:
            return f"sql: stopped after {self.timeout_s:g} s; ask for less, or for fewer hours"
        return f"sql: its process was ended (code {code}), perhaps for want of memory; ask for less"


def _started() -> Process:
    """A process that imports from where this one does, and is not reached by Ctrl-C of the terminal."""
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-m", "quotaloop.cli.mcp.child"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, env=surroundings, start_new_session=True)


def _exchanged(process: Process, request: bytes) -> bytes:
    """The line that it answers; without its newline, or empty, where the process ended first."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(request)
        process.stdin.flush()
    except BrokenPipeError:
        return b""
    return process.stdout.readline()


def _document(reply: dict[str, Any]) -> dict[str, Any]:
    """The document of a reply; raises the error that it tells of."""
    if "error" not in reply:
        found: dict[str, Any] = reply["document"]
        return found
    kind = getattr(errors, reply["error"], RuntimeError)
    raise (kind if issubclass(kind, QuotaloopError) else RuntimeError)(reply["said"])


def _end(process: Process) -> None:
    """End it and leave nothing of it; one that has ended keeps its code."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue  # what it did not read is of no use to anybody


def _end_all(processes: list[Process]) -> None:
    while processes:
        _end(processes.pop())
