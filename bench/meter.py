"""Measure a command with everything it starts: CPU seconds, wall seconds, peak of the resident bytes.

``measure`` starts this module as a process of its own, which adopts orphans of the command and waits for them, so that
a JVM that outlives the script that started it is counted to its end. Inside the command, ``phase`` marks a part.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.process_tree import Tree

WHOLE = "whole"
_MARKS = "QUOTALOOP_BENCH_MARKS"  # file descriptor of the socket between command and meter
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_INTERVAL_S = 0.1
_LINGER_S = 60


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree used; ``peak_bytes`` is the greatest sum of resident sizes seen, shared pages each time."""

    cpu_s: float
    wall_s: float
    peak_bytes: int


class MeasuredCommandFailed(RuntimeError):
    """A measured command ended with an error, or left a process behind."""


def measure(command: Sequence[str]) -> dict[str, Usage]:
    """Run the command; what it used as ``whole``, and each of its phases by name."""
    with tempfile.TemporaryDirectory(prefix="quotaloop-bench-") as folder:
        report, log = Path(folder) / "report.json", Path(folder) / "log"
        with log.open("wb") as out:
            code = subprocess.call(
                [sys.executable, "-m", "bench.meter", str(report), *command], stdout=out, stderr=subprocess.STDOUT
            )
        if code:
            tail = "\n".join(log.read_text("utf-8", "replace").splitlines()[-30:])
            raise MeasuredCommandFailed(f"{' '.join(command)} failed with {code}:\n{tail}")
        return {name: Usage(**usage) for name, usage in json.loads(report.read_text("utf-8")).items()}


@contextmanager
def phase(name: str) -> Iterator[None]:
    """A part of a measured command that is also counted by itself; the meter answers before it goes on."""
    _mark(name)
    yield
    _mark(name)


def _mark(name: str) -> None:
    if _MARKS in os.environ:
        with socket.socket(fileno=os.dup(int(os.environ[_MARKS]))) as end:
            end.send(name.encode())
            end.recv(1)


class _Meter:
    def __init__(self) -> None:
        self.tree = Tree()
        self.began = time.monotonic()
        self.peaks: dict[str, int] = {WHOLE: 0}
        self.open: dict[str, tuple[float, float]] = {}
        self.usages: dict[str, Usage] = {}

    def look(self) -> float:
        cpu = self.tree.sample()
        for name, peak in self.peaks.items():
            self.peaks[name] = max(peak, self.tree.resident)
        return cpu

    def mark(self, name: str) -> None:
        cpu, now = self.look(), time.monotonic()
        if name in self.open:
            before, began = self.open.pop(name)
            self.usages[name] = Usage(cpu - before, now - began, self.peaks.pop(name))
        else:
            self.open[name], self.peaks[name] = (cpu, now), self.tree.resident

    def reap(self, main: int) -> int | None:
        """Wait for all that has ended; the exit code of ``main`` if it was among them."""
        code = None
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self.tree.reaped(ended[0])
                if ended[0] == main:
                    code = os.waitstatus_to_exitcode(ended[1])
        return code


def _run(report: Path, command: Sequence[str]) -> int:
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0):
        raise MeasuredCommandFailed("this system cannot adopt orphans: measuring needs Linux")
    meter = _Meter()
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mine.settimeout(_INTERVAL_S)
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=os.environ | {_MARKS: str(theirs.fileno())})
    code: int | None = None
    while code is None:
        with suppress(TimeoutError):
            meter.mark(mine.recv(100).decode())
            mine.send(b".")
        meter.look()
        code = meter.reap(process.pid)
    _wait_for_orphans(meter)
    cpu = meter.look()
    meter.usages[WHOLE] = Usage(cpu, time.monotonic() - meter.began, meter.peaks[WHOLE])
    report.write_text(json.dumps({name: asdict(usage) for name, usage in meter.usages.items()}), "utf-8")
    return code


def _wait_for_orphans(meter: _Meter) -> None:
    until = time.monotonic() + _LINGER_S
    while True:
        meter.look()
        meter.reap(-1)
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if time.monotonic() > until:
            raise MeasuredCommandFailed("the command has ended, and a process that it started has not")
        time.sleep(_INTERVAL_S / 10)


if __name__ == "__main__":
    sys.exit(_run(Path(sys.argv[1]), sys.argv[2:]))
