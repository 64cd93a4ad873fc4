"""What all processes below one have used, read from ``/proc``: CPU seconds to the tick, resident bytes.

The kernel adds the CPU of a process to its parent when the parent waits for it. Two kinds of process would be lost by
that: one whose parent has died (its CPU goes to whoever adopts it, so the root has to be a subreaper and wait for it),
and one whose parent ignores ``SIGCHLD``, as the daemon of PySpark's workers does: the kernel removes it and charges
nobody. Of the latter, what was last seen is kept here.
"""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")
_IGNORED = re.compile(r"^SigIgn:\s*([0-9a-f]+)$", re.MULTILINE)

Key = tuple[int, int]  # process id and start time: ids are used again


@dataclass(frozen=True, slots=True)
class Process:
    """One process: ``cpu`` in seconds, its own and that of children it has waited for."""

    pid: int
    parent: int
    started: int
    cpu: float
    resident: int

    @property
    def key(self) -> Key:
        """What no other process has."""
        return self.pid, self.started


def processes() -> dict[int, Process]:
    """All processes of the machine that can be seen."""
    found = {}
    for name in os.listdir(_PROC):  # noqa: PTH208  # ten times as fast as making paths, ten times a second
        if name.isdigit():
            with suppress(OSError):  # it ended between the listing and now
                process = _read(int(name))
                found[process.pid] = process
    return found


def _read(pid: int) -> Process:
    text = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    words = text[text.rindex(")") + 2 :].split()  # the name before it may hold anything
    cpu = sum(map(int, words[11:15])) / _TICKS
    return Process(pid, int(words[1]), int(words[19]), cpu, int(words[21]) * _PAGE)


def below(root: int, known: Mapping[int, Process]) -> Iterator[Process]:
    """All descendants of ``root``."""
    children: dict[int, list[Process]] = {}
    for process in known.values():
        children.setdefault(process.parent, []).append(process)
    waiting = list(children.get(root, ()))
    while waiting:
        process = waiting.pop()
        yield process
        waiting.extend(children.get(process.pid, ()))


def ignores_its_children(pid: int) -> bool:
    """Does the process ignore ``SIGCHLD``?"""
    try:
        match = _IGNORED.search((_PROC / str(pid) / "status").read_text("utf-8", "replace"))
    except OSError:
        return False
    return match is not None and bool(int(match[1], 16) >> (signal.SIGCHLD - 1) & 1)


@dataclass
class Tree:
    """The processes below this one, which must be a subreaper that waits for every child."""

    resident: int = 0
    _unclaimed: dict[Key, float] = field(default_factory=dict)

    def sample(self) -> float:
        """CPU seconds used so far by all that ever were below; sets ``resident`` to what they hold now."""
        living = list(below(os.getpid(), processes()))
        self.resident = sum(process.resident for process in living)
        careless = {parent for parent in {process.parent for process in living} if ignores_its_children(parent)}
        self._unclaimed |= {process.key: process.cpu for process in living if process.parent in careless}
        here = {process.key for process in living}
        lost = sum(cpu for key, cpu in self._unclaimed.items() if key not in here)
        waited = resource.getrusage(resource.RUSAGE_CHILDREN)
        return waited.ru_utime + waited.ru_stime + sum(process.cpu for process in living) + lost

    def reaped(self, pid: int) -> None:
        """This process was waited for here: the kernel has counted it."""
        self._unclaimed = {key: cpu for key, cpu in self._unclaimed.items() if key[0] != pid}
