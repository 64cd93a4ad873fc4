"""Processes of a cluster, told from all others by what stands in their command line; no pid is remembered."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from servers import command_line
from servers.command_line import command, mark
from servers.failure import Failure
from servers.layout import Cluster
from servers.roster import Server

PROC = Path("/proc")
GONE_SECONDS = 30.0


def pid_of(cluster: Cluster, server: Server) -> int | None:
    """The process that is this server of this cluster, if it runs."""
    wanted = mark(cluster, server).encode()
    return next((pid for pid in _pids() if wanted in _arguments(pid) and _leads(pid)), None)


def containers(cluster: Cluster) -> list[int]:
    """Processes that this cluster's YARN started: YARN tells them where their files are."""
    variable = f"LOCAL_DIRS={cluster.data / 'nodemanager'}/".encode()
    return [pid for pid in _pids() if _has(pid, variable)]


def user_of(classpath: str) -> int | None:
    """A process of any cluster that has this entry on its classpath."""
    wanted = classpath.encode()
    return next((pid for pid in _pids() if any(wanted in word.split(b":") for word in _arguments(pid))), None)


def spawn(cluster: Cluster, server: Server) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own; its pid is written beside its log for whoever reads there."""
    log = cluster.log(server)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command(cluster, server),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=cluster.folder,
            env=command_line.environment(cluster),
        )
    log.with_suffix(".pid").write_text(f"{process.pid}\n", encoding="utf-8")
    return process


def send(cluster: Cluster, server: Server, number: signal.Signals) -> None:
    """Send a signal to a server; SIGKILL and SIGTERM return when it is gone."""
    pid = pid_of(cluster, server)
    if pid is None:
        raise Failure(f"{server.name} does not run in {cluster.folder}")
    with _held(pid) as process:
        if mark(cluster, server).encode() not in _arguments(pid):
            raise Failure(f"{server.name} has just ended by itself, see {cluster.log(server)}")
        signal.pidfd_send_signal(process, number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            _await_end(process, server.name)


def end(cluster: Cluster, server: Server) -> None:
    """End a server if it runs: asked first, killed when it does not listen, stopped or not."""
    pid = pid_of(cluster, server)
    if pid is None:
        return
    with suppress(ProcessLookupError), _held(pid) as process:
        if mark(cluster, server).encode() not in _arguments(pid):
            return
        signal.pidfd_send_signal(process, signal.SIGTERM)
        signal.pidfd_send_signal(process, signal.SIGCONT)
        if not _ended(process, GONE_SECONDS):
            signal.pidfd_send_signal(process, signal.SIGKILL)
            _await_end(process, server.name)


def end_containers(cluster: Cluster) -> None:
    """Kill what YARN left running, until nothing of it is left."""
    while pids := containers(cluster):
        for pid in pids:
            with suppress(ProcessLookupError), _held(pid) as process:
                if pid in containers(cluster):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    _await_end(process, f"container process {pid}")


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def _arguments(pid: int) -> list[bytes]:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _leads(pid: int) -> bool:
    """Servers lead their sessions; what a server has just forked looks like it, and does not."""
    try:
        return os.getsid(pid) == pid
    except OSError:
        return False


def _has(pid: int, variable: bytes) -> bool:
    """Is there a variable in the environment that begins so?"""
    try:
        environment = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(entry.startswith(variable) for entry in environment)


@contextmanager
def _held(pid: int) -> Iterator[int]:
    """A file descriptor that stays this process, even if its number is given to another."""
    process = os.pidfd_open(pid)
    try:
        yield process
    finally:
        os.close(process)


def _ended(process: int, seconds: float) -> bool:
    return bool(select.select([process], [], [], seconds)[0])


def _await_end(process: int, name: str) -> None:
    if not _ended(process, GONE_SECONDS):
        raise Failure(f"{name} is still there {GONE_SECONDS:.0f} s after its signal")
