"""Where a cluster lies: its folder, the hosts and ports of its servers, and the values that go into settings files."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from servers.failure import Failure
from servers.roster import PORTS, SERVERS, Server

HOME = Path(__file__).resolve().parents[1]
CONF = HOME / "conf"
LOOPBACK = "127.0.0.1"
DEFAULT_BASE = 19000


@dataclass(frozen=True, slots=True)
class Cluster:
    """A folder and a base of ports; ``by_name`` in containers, where each server's host is its name."""

    folder: Path
    base: int = DEFAULT_BASE
    by_name: bool = False

    @property
    def conf(self) -> Path:
        """The settings files with this cluster's values."""
        return self.folder / "conf"

    @property
    def hadoop_conf(self) -> Path:
        """What ``HADOOP_CONF_DIR`` has to be."""
        return self.conf / "hadoop"

    @property
    def data(self) -> Path:
        """All that servers store."""
        return self.folder / "data"

    @property
    def web(self) -> Path:
        """A folder on the classpath with the empty ``webapps`` that servers insist upon."""
        return self.folder / "web"

    @property
    def kafka_client(self) -> Path:
        """What clients need for the SASL_SSL listener: ``ca.pem`` and ``password``."""
        return self.folder / "kafka-client"

    def log(self, server: Server) -> Path:
        """Standard output and error of a server, appended to at every start."""
        return self.folder / "logs" / f"{server.name}.log"

    def host(self, name: str) -> str:
        """Where the server of this name is found."""
        return name if self.by_name else LOOPBACK

    def port(self, name: str) -> int:
        """The port of a name like ``NAMENODE_RPC_PORT``."""
        return self.base + PORTS[name]

    def address(self, port: str) -> str:
        """Host and port of a port's name."""
        return f"{self.host(port.split('_')[0].lower())}:{self.port(port)}"

    def values(self) -> dict[str, str]:
        """Everything that the settings files leave open."""
        values = {name: str(self.port(name)) for name in PORTS}
        values |= {f"{name.upper()}_HOST": self.host(name) for name in SERVERS}
        return values | {
            "BIND": "0.0.0.0" if self.by_name else LOOPBACK,
            "DATA": str(self.data),
            "HADOOP_CONF": str(self.hadoop_conf),
            "HADOOP_JARS": str(HOME / "jars" / "hadoop"),
        }


def java() -> str:
    """The Java that starts everything, of ``JAVA_HOME`` or else of the PATH; links resolved, its home is two above."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which(f"{home}/bin/java" if home else "java")
    if found is None:
        where = f"in JAVA_HOME, {home}" if home else "on the PATH"
        raise Failure(f"no java {where}: install Java 17 (Debian: apt-get install openjdk-17-jre-headless)")
    return str(Path(found).resolve())
