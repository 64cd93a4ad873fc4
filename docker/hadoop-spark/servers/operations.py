"""Up, down, kill and start: what the commands do, one at a time for a cluster."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from servers import configuration, jars, ports, processes, storage
from servers.failure import Failure
from servers.layout import Cluster
from servers.readiness import ready
from servers.roster import SERVERS, Server, with_needs

READY_SECONDS = 120.0
POLL_SECONDS = 0.1
LOG_TAIL_LINES = 30
_Started = dict[str, subprocess.Popen[bytes]]


@contextmanager
def held(cluster: Cluster) -> Iterator[None]:
    """One command at a time changes a cluster; a second one waits for the first."""
    cluster.folder.mkdir(parents=True, exist_ok=True)
    with (cluster.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up(cluster: Cluster, names: list[str]) -> None:
    """See that these servers, and those they need, run and are ready; data and passwords of before are kept."""
    servers = with_needs(names)
    jars.fetch(*sorted({server.jars for server in servers}))
    _write_settings(cluster)
    started = _start([server for server in servers if processes.pid_of(cluster, server) is None], cluster)
    _await(cluster, servers, started)


def start(cluster: Cluster, server: Server) -> None:
    """Start one server over the data that it has; ready are then it and those running ones that depend on it."""
    if processes.pid_of(cluster, server) is not None:
        raise Failure(f"{server.name} runs already in {cluster.folder}")
    if not cluster.conf.exists():
        raise Failure(f"there is no cluster in {cluster.folder}: `up` makes one")
    started = _start([server], cluster)
    _await(cluster, [server, *(other for other in running(cluster) if server.name in other.needs)], started)


def kill(cluster: Cluster, server: Server, number: signal.Signals) -> None:
    """Send a signal to one server; returns when it is gone, if the signal is one that ends it."""
    processes.send(cluster, server, number)


def down(cluster: Cluster) -> list[str]:
    """End all of the cluster's processes, and nobody else's; the names of the servers that ran."""
    servers = running(cluster)
    for server in reversed(servers):
        processes.end(cluster, server)
    processes.end_containers(cluster)
    return [server.name for server in servers]


def running(cluster: Cluster) -> list[Server]:
    """The servers that have a process, ready or not."""
    return [server for server in SERVERS.values() if processes.pid_of(cluster, server) is not None]


def _write_settings(cluster: Cluster) -> None:
    """Settings on disk are those of running servers: only a cluster that is down gets new ones."""
    if there := running(cluster):
        before = ports.base_of(cluster.folder, None)
        if before != cluster.base:
            raise Failure(f"{there[0].name} runs on ports from {before} on: `down` first, or leave --ports out")
        return
    ports.remember(cluster.folder, cluster.base)
    configuration.write(cluster)


def _start(servers: Sequence[Server], cluster: Cluster) -> _Started:
    names = {name for server in servers for name in server.port_names()}
    if used := ports.taken(cluster.base, names):
        raise Failure(f"somebody else listens on port {used[0]}: `--ports free` finds others for a new --dir")
    for server in servers:
        storage.prepare(cluster, server)
    return {server.name: processes.spawn(cluster, server) for server in servers}


def _await(cluster: Cluster, servers: Sequence[Server], started: _Started) -> None:
    """Poll until all are ready; a server that ends or takes too long is reported with the end of its log."""
    until = time.monotonic() + READY_SECONDS
    waiting = list(servers)
    while waiting := [server for server in waiting if not ready(cluster, server)]:
        for server in waiting:
            if _ended(cluster, server, started):
                raise Failure(f"{server.name} ended instead of getting ready:\n{tail(cluster, server)}")
        if time.monotonic() > until:
            server = waiting[0]
            raise Failure(f"{server.name} is not ready after {READY_SECONDS:.0f} s:\n{tail(cluster, server)}")
        time.sleep(POLL_SECONDS)


def _ended(cluster: Cluster, server: Server, started: _Started) -> bool:
    """Our own children are asked themselves: for an instant after its start a process has no command line."""
    if server.name in started:
        return started[server.name].poll() is not None
    return processes.pid_of(cluster, server) is None


def tail(cluster: Cluster, server: Server, lines: int = LOG_TAIL_LINES) -> str:
    """The end of a server's log."""
    path = cluster.log(server)
    if not path.exists():
        return f"no log at {path}"
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
