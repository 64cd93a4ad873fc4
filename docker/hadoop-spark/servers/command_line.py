"""How a server is started: the command and its environment, the same on a machine and in a container."""

from __future__ import annotations

import os
from pathlib import Path

from servers.layout import HOME, Cluster, java
from servers.roster import Server

_QUICK = [
    "-Xms32m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.net.preferIPv4Stack=true",
]
# Hadoop of before Java 17 looks into classes of the platform.
_OPEN = ["java.lang", "java.util", "java.io", "java.net", "java.nio", "java.util.concurrent"]


def command(cluster: Cluster, server: Server) -> list[str]:
    """The arguments that start a server, from ``java`` on."""
    options = [f"-Xmx{server.heap_mb}m", *_QUICK, mark(cluster, server), *_logging(cluster, server)]
    arguments = [str(cluster.conf / "kafka" / "server.properties")] if server.jars == "kafka" else []
    return [*tool(cluster, server.jars, *options), server.main, *arguments]


def tool(cluster: Cluster, jars: str, *options: str) -> list[str]:
    """``java`` with the classpath of a set of jars; a class and its arguments are to follow."""
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPEN] if jars == "hadoop" else []
    return [java(), *options, *opened, "-cp", f"{cluster.conf / jars}:{cluster.web}:{HOME / 'jars' / jars}/*"]


def mark(cluster: Cluster, server: Server) -> str:
    """The argument by which a running server is known as this one of this cluster."""
    return f"-Dquotaloop.server={cluster.folder}/{server.name}"


def environment(cluster: Cluster) -> dict[str, str]:
    """This process's environment without what would alter the servers, with what YARN hands to its tasks."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HADOOP_", "YARN_", "HDFS_", "MAPRED_", "KAFKA_", "SPARK_", "PYSPARK_", "PYTHON"))
        and name not in ("CLASSPATH", "JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS")
    }
    home = str(Path(java()).parents[1])
    return kept | {"JAVA_HOME": home, "HADOOP_CONF_DIR": str(cluster.hadoop_conf)}


def _logging(cluster: Cluster, server: Server) -> list[str]:
    if server.jars == "kafka":
        return [f"-Dlog4j2.configurationFile={(cluster.conf / 'kafka' / 'log4j2.properties').as_uri()}"]
    return ["-Dquotaloop.log.level=INFO"]
