"""The six servers: what starts each of them, which ports it has, and on whom it depends."""

from __future__ import annotations

from dataclasses import dataclass

HADOOP = "org.apache.hadoop."


@dataclass(frozen=True, slots=True)
class Server:
    """One Java process; ``first_port`` is the distance of its first port from the cluster's base, others follow it."""

    name: str
    jars: str
    main: str
    heap_mb: int
    first_port: int
    ports: tuple[str, ...]
    needs: tuple[str, ...] = ()
    webapp: str | None = None

    def port_names(self) -> dict[str, int]:
        """Distance from the cluster's base by the name that the settings files use."""
        prefix = self.name.upper()
        return {
            f"{prefix}_{port}_PORT" if port else f"{prefix}_PORT": self.first_port + step
            for step, port in enumerate(self.ports)
        }


KAFKA = Server("kafka", "kafka", "kafka.Kafka", 384, 0, ("", "SASL", "CONTROLLER"))
NAMENODE = Server(
    "namenode", "hadoop", f"{HADOOP}hdfs.server.namenode.NameNode", 256, 10, ("RPC", "HTTP"), webapp="hdfs"
)
DATANODE = Server(
    "datanode",
    "hadoop",
    f"{HADOOP}hdfs.server.datanode.DataNode",
    256,
    20,
    ("DATA", "IPC", "HTTP"),
    needs=("namenode",),
    webapp="datanode",
)
RESOURCEMANAGER = Server(
    "resourcemanager",
    "hadoop",
    f"{HADOOP}yarn.server.resourcemanager.ResourceManager",
    320,
    30,
    ("CLIENT", "SCHEDULER", "TRACKER", "ADMIN", "HTTP"),
    webapp="cluster",
)
NODEMANAGER = Server(
    "nodemanager",
    "hadoop",
    f"{HADOOP}yarn.server.nodemanager.NodeManager",
    320,
    40,
    ("IPC", "LOCALIZER", "HTTP", "SHUFFLE"),
    needs=("resourcemanager",),
    webapp="node",
)
HISTORYSERVER = Server(
    "historyserver",
    "hadoop",
    f"{HADOOP}mapreduce.v2.hs.JobHistoryServer",
    256,
    50,
    ("RPC", "HTTP", "ADMIN"),
    needs=("namenode", "datanode"),
    webapp="jobhistory",
)

SERVERS = {server.name: server for server in (KAFKA, NAMENODE, DATANODE, RESOURCEMANAGER, NODEMANAGER, HISTORYSERVER)}
"""In the order in which they start."""

PORTS = {name: step for server in SERVERS.values() for name, step in server.port_names().items()}
"""Every port of a cluster as its distance from the base."""


def with_needs(names: list[str]) -> list[Server]:
    """These servers (all, where none is named) and those they need, in the order in which they start."""
    wanted = set(names or SERVERS)
    for server in reversed(SERVERS.values()):
        if server.name in wanted:
            wanted |= set(server.needs)
    return [server for server in SERVERS.values() if server.name in wanted]
