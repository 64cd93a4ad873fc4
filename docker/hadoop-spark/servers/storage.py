"""What has to be on disk before a server first starts: formatted storage, empty folders."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

from servers import credentials
from servers.command_line import environment, tool
from servers.failure import Failure
from servers.layout import Cluster
from servers.roster import HADOOP, KAFKA, NAMENODE, NODEMANAGER, Server


def prepare(cluster: Cluster, server: Server) -> None:
    """Make a server's storage where there is none; what is formatted already stays as it is."""
    if server == NODEMANAGER and " " in str(cluster.folder):
        raise Failure(f"{cluster.folder}: YARN's own scripts fail where there is a space, choose another --dir")
    cluster.data.mkdir(parents=True, exist_ok=True)
    if server.webapp:
        (cluster.web / "webapps" / server.webapp).mkdir(parents=True, exist_ok=True)
    if server == KAFKA:
        credentials.make(cluster)
        _once(cluster, "kafka", lambda: _format_kafka(cluster))
    elif server == NAMENODE:
        _once(cluster, "namenode", lambda: _format_namenode(cluster))


def _once(cluster: Cluster, name: str, format_it: Callable[[], None]) -> None:
    """Format into an empty folder; a mark beside it says that it was done to the end."""
    done = cluster.data / f"{name}.formatted"
    if not done.exists():
        shutil.rmtree(cluster.data / name, ignore_errors=True)
        format_it()
        done.touch()


def _format_kafka(cluster: Cluster) -> None:
    user = f"SCRAM-SHA-512=[name={credentials.USER},password={credentials.password(cluster)}]"
    arguments = ["kafka.tools.StorageTool", "format", "--cluster-id", _cluster_id()]
    arguments += ["--config", str(cluster.conf / "kafka" / "server.properties"), "--add-scram", user]
    secret = cluster.data / "kafka.arguments"
    try:
        _run([*tool(cluster, "kafka"), _argument_file(secret, arguments)], cluster)
    finally:
        secret.unlink(missing_ok=True)


def _format_namenode(cluster: Cluster) -> None:
    _run(
        [*tool(cluster, "hadoop"), f"{HADOOP}hdfs.server.namenode.NameNode", "-format", "-force", "-nonInteractive"],
        cluster,
    )


def _cluster_id() -> str:
    return base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")


def _argument_file(path: Path, arguments: list[str]) -> str:
    """Arguments in a file that Java reads: on a command line everybody would see the password."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        for argument in arguments:
            quoted = argument.replace("\\", "\\\\").replace('"', '\\"')
            file.write(f'"{quoted}"\n')
    return f"@{path}"


def _run(command: list[str], cluster: Cluster) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(cluster),
        check=False,
    )
    if done.returncode:
        raise Failure(f"the storage was not formatted:\n{done.stdout[-3000:]}")
