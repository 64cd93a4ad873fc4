"""The command line of `cluster`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from servers import client, configuration, jars, operations, ports, processes, storage
from servers.command_line import command, environment
from servers.failure import Failure
from servers.layout import HOME, Cluster
from servers.readiness import ready
from servers.roster import SERVERS

DEFAULT_FOLDER = HOME.parents[1] / "build" / "cluster"
_EPILOG = "NAME is one of " + ", ".join(SERVERS)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it did what it was asked, 1 when not, with why on standard error."""
    asked = _parser().parse_args(arguments)
    try:
        folder = asked.dir.resolve()
        cluster = Cluster(folder, ports.base_of(folder, asked.ports), by_name=asked.hosts == "names")
        return _run(asked, cluster)
    except Failure as failure:
        sys.stderr.write(f"cluster: {failure}\n")
        return 1
    except BrokenPipeError:  # whoever read this has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(asked: argparse.Namespace, cluster: Cluster) -> int:
    match asked.command:
        case "up":
            with operations.held(cluster):
                operations.up(cluster, asked.names)
            _say(_status(cluster))
        case "down":
            with operations.held(cluster):
                ended = operations.down(cluster)
            _say(f"ended: {', '.join(ended) or 'nothing ran'}\n")
        case "kill":
            with operations.held(cluster):
                operations.kill(cluster, SERVERS[asked.name], _signal(asked.signal))
        case "start":
            with operations.held(cluster):
                operations.start(cluster, SERVERS[asked.name])
        case "status":
            _say(json.dumps(_states(cluster), indent=2) + "\n" if asked.json else _status(cluster))
        case "logs":
            _say(operations.tail(cluster, SERVERS[asked.name], asked.lines) + "\n")
        case "env":
            values = client.environment(cluster)
            _say(json.dumps(values, indent=2) + "\n" if asked.json else client.exports(values))
        case "jars":
            jars.fetch(*jars.SETS)
        case "conf":
            configuration.write(cluster)
        case "ready":
            return 0 if ready(cluster, SERVERS[asked.name]) else 1
        case "serve":
            _serve(cluster, asked.name)
    return 0


def _serve(cluster: Cluster, name: str) -> None:
    """Become the server, in the foreground: what a container does."""
    server = SERVERS[name]
    configuration.write(cluster)
    storage.prepare(cluster, server)
    line = command(cluster, server)
    os.execve(line[0], line, environment(cluster))


def _states(cluster: Cluster) -> dict[str, dict[str, object]]:
    states: dict[str, dict[str, object]] = {}
    for server in SERVERS.values():
        pid = processes.pid_of(cluster, server)
        state = "down" if pid is None else "ready" if ready(cluster, server) else "not ready"
        port_numbers = {name: cluster.port(name) for name in server.port_names()}
        states[server.name] = {"state": state, "pid": pid, "ports": port_numbers, "log": str(cluster.log(server))}
    return states


def _status(cluster: Cluster) -> str:
    lines = [f"{cluster.folder}, ports from {cluster.base} on"]
    for name, state in _states(cluster).items():
        pid = f"pid {state['pid']}" if state["pid"] else ""
        lines.append(f"  {name:<16}{state['state']!s:<11}{pid}".rstrip())
    return "\n".join(lines) + "\n"


def _signal(name: str) -> signal.Signals:
    try:
        return signal.Signals[f"SIG{name.upper().removeprefix('SIG')}"]
    except KeyError:
        raise Failure(f"--signal {name}: there is no such signal") from None


def _name(text: str) -> str:
    if text not in SERVERS:
        raise argparse.ArgumentTypeError(f"{text!r}: the servers are {', '.join(SERVERS)}")
    return text


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cluster", description="Kafka, HDFS and YARN on this machine.", epilog=_EPILOG
    )
    folder = os.environ.get("QUOTALOOP_CLUSTER_DIR", str(DEFAULT_FOLDER))
    parser.add_argument("--dir", type=Path, default=folder, help="the cluster's folder (default: build/cluster)")
    parser.add_argument("--ports", metavar="BASE", help="first of its ports, or `free`; remembered in the folder")
    hosts = os.environ.get("QUOTALOOP_CLUSTER_HOSTS", "loopback")
    parser.add_argument("--hosts", choices=("loopback", "names"), default=hosts, help="`names` in containers")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, *, server: bool = False) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, epilog=_EPILOG)
        if server:
            added.add_argument("name", type=_name, metavar="NAME")
        return added

    named = add("up", "start what does not run, all or what is named, and wait until it is ready")
    named.add_argument("names", nargs="*", type=_name, metavar="NAME")
    add("down", "end everything that runs; data stays")
    add("status", "what runs").add_argument("--json", action="store_true")
    add("logs", "the end of a log", server=True).add_argument("--lines", type=int, default=100)
    add("kill", "send a signal to one server", server=True).add_argument("--signal", default="KILL", metavar="SIG")
    add("start", "start one server again", server=True)
    add("env", "what clients need, for a shell to evaluate").add_argument("--json", action="store_true")
    add("jars", "fetch the jars and do nothing else")
    add("conf", "write the settings files into the folder and do nothing else")
    add("ready", "status 0 if a server is ready: the health check of containers", server=True)
    add("serve", "be one server, in the foreground: the command of containers", server=True)
    return parser
