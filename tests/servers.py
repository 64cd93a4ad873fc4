"""The servers of ``docker/hadoop-spark``, as tests start, kill and ask for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cached_property
from pathlib import Path

_SCRIPT = Path(__file__).resolve().parents[1] / "docker" / "hadoop-spark" / "cluster"


class Cluster:
    """A folder of servers with ports of their own; none runs before it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def up(self, *names: str) -> None:
        """Start what of these does not run, and wait until all are ready."""
        self._call("up", *names)

    def start(self, name: str) -> None:
        """Start a server that was killed over its data, and wait until it is ready."""
        self._call("start", name)

    def kill(self, name: str, signal: str = "KILL") -> None:
        """Send a signal to a server; back when it has had its effect."""
        self._call("kill", name, "--signal", signal)

    def down(self) -> None:
        """End every server."""
        self._call("down")

    def hadoop(self, *words: str) -> str:
        """What Hadoop's own command answers."""
        environment = {"HADOOP_CONF_DIR": self.environment["HADOOP_CONF_DIR"]}
        return _output([self.environment["QUOTALOOP_HADOOP_BIN"], *words], os.environ | environment)

    def java(self, name: str, *words: str) -> str:
        """What the main class of this name, of Hadoop's jars, answers."""
        jars = Path(self.environment["QUOTALOOP_HADOOP_STREAMING_JAR"]).parent
        home = os.environ.get("JAVA_HOME")
        java = f"{home}/bin/java" if home else "java"
        return _output([java, "-cp", f"{self.environment['HADOOP_CONF_DIR']}:{jars}/*", name, *words])

    @cached_property
    def environment(self) -> dict[str, str]:
        """What clients of these servers need, by the names of environment variables."""
        found: dict[str, str] = json.loads(self._call("env", "--json"))
        return found

    def _call(self, *words: str) -> str:
        return _output([sys.executable, str(_SCRIPT), "--dir", str(self.folder), "--ports", "free", *words])


def _output(command: list[str], environment: dict[str, str] | None = None) -> str:
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}: {ended.stderr[-2000:]}"
    return ended.stdout
