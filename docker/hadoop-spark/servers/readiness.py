"""When a server is ready: conditions that are asked over the network, by `cluster` and by health checks alike."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import urllib.request
from collections.abc import Callable
from typing import Any

from servers.layout import Cluster
from servers.roster import Server

ANSWER_SECONDS = 3.0
_METADATA, _METADATA_VERSION = 3, 1


def ready(cluster: Cluster, server: Server) -> bool:
    """Does this server do its work now? An answer that does not come, or is none, means no."""
    try:
        return _CONDITIONS[server.name](cluster)
    except (OSError, ValueError, KeyError, IndexError, TypeError, struct.error, http.client.HTTPException):
        return False


def _kafka(cluster: Cluster) -> bool:
    """The broker names itself among those that topics can be put on."""
    request = struct.pack(">hhihi", _METADATA, _METADATA_VERSION, 1, -1, 0)
    host = cluster.host("kafka")
    with socket.create_connection((host, cluster.port("KAFKA_PORT")), ANSWER_SECONDS) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as stream:
            (size,) = struct.unpack(">i", stream.read(4))
            answer = stream.read(size)
    _, brokers = struct.unpack_from(">ii", answer)
    return bool(brokers == 1 and host.encode() in answer)


def _namenode(cluster: Cluster) -> bool:
    """The root is answered for by WebHDFS; safe mode is left only once a DataNode is there."""
    url = f"http://{cluster.address('NAMENODE_HTTP_PORT')}/webhdfs/v1/?op=GETFILESTATUS"
    return bool(_get(url)["FileStatus"]["type"] == "DIRECTORY")


def _datanode(cluster: Cluster) -> bool:
    """The NameNode hears it, knows all blocks and has left safe mode; this very DataNode is registered."""
    info = _bean(cluster, "NAMENODE_HTTP_PORT", "Hadoop:service=NameNode,name=NameNodeInfo")
    state = _bean(cluster, "NAMENODE_HTTP_PORT", "Hadoop:service=NameNode,name=FSNamesystemState")
    if info["Safemode"] or state["NumLiveDataNodes"] < 1 or state["NumStaleDataNodes"]:
        return False
    node = _bean(cluster, "DATANODE_HTTP_PORT", "Hadoop:service=DataNode,name=DataNodeInfo")
    actors = json.loads(node["BPServiceActorInfo"])
    return bool(actors) and all(actor["ActorState"] == "RUNNING" for actor in actors)


def _resourcemanager(cluster: Cluster) -> bool:
    url = f"http://{cluster.address('RESOURCEMANAGER_HTTP_PORT')}/ws/v1/cluster/info"
    return bool(_get(url)["clusterInfo"]["state"] == "STARTED")


def _nodemanager(cluster: Cluster) -> bool:
    """The ResourceManager counts on this very NodeManager, not on one that was there before it."""
    own = _get(f"http://{cluster.address('NODEMANAGER_HTTP_PORT')}/ws/v1/node/info")["nodeInfo"]
    nodes = _get(f"http://{cluster.address('RESOURCEMANAGER_HTTP_PORT')}/ws/v1/cluster/nodes")["nodes"]["node"]
    return bool(own["nodeHealthy"]) and any(
        node["id"] == own["id"] and node["state"] == "RUNNING" and node["lastHealthUpdate"] >= own["nmStartupTime"]
        for node in nodes
    )


def _historyserver(cluster: Cluster) -> bool:
    url = f"http://{cluster.address('HISTORYSERVER_HTTP_PORT')}/ws/v1/history/info"
    return bool(_get(url)["historyInfo"]["startedOn"])


_CONDITIONS: dict[str, Callable[[Cluster], bool]] = {
    "kafka": _kafka,
    "namenode": _namenode,
    "datanode": _datanode,
    "resourcemanager": _resourcemanager,
    "nodemanager": _nodemanager,
    "historyserver": _historyserver,
}


def _bean(cluster: Cluster, port: str, name: str) -> Any:
    return _get(f"http://{cluster.address(port)}/jmx?qry={name}")["beans"][0]


def _get(url: str) -> Any:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(url, timeout=ANSWER_SECONDS) as answer:
        return json.load(answer)
