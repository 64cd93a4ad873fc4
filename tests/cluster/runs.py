"""Runs in processes of their own, watched by what they say, so that a fault comes where it is meant to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.servers import Cluster

LONGEST_S = 600  # a run that takes longer hangs


class Run:
    """A command of the command line; ``said`` are the lines of its standard error so far."""

    def __init__(self, environment: dict[str, str], *words: str) -> None:
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from quotaloop.cli import main; main()", *words],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def wait_for(self, beginning: str) -> bool:
        """Wait until it says a line that begins so; False if it ended before."""
        return wait_until(lambda: any(line.startswith(beginning) for line in self.said) or self.has_ended) and any(
            line.startswith(beginning) for line in self.said
        )

    @property
    def has_ended(self) -> bool:
        """Is the process gone?"""
        return self.process.poll() is not None

    def stopped(self) -> bool:
        """Wait until it has put itself to sleep; False if it ended."""
        return wait_until(lambda: self.has_ended or _state(self.process.pid) == "T") and not self.has_ended

    def end(self) -> int:
        """Wait until it has ended; its exit code."""
        code = self.process.wait(timeout=LONGEST_S)
        self._listener.join(timeout=10)
        return code

    def kill(self) -> None:
        """``kill -9`` to the process alone; what it started is left to itself."""
        self.process.kill()
        self.process.wait()

    def sweep(self) -> None:
        """End what is left of its group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip())


def environment(cluster: Cluster, store: str, **changed: str) -> dict[str, str]:
    """The environment of a run on the cluster; ``changed`` are settings by their names in upper case."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QUOTALOOP_")}
    mine = {
        "QUOTALOOP_STORE": f"{cluster.environment['HDFS_URL']}/{store}",
        "QUOTALOOP_TASK_MEMORY": "1GB",
        "QUOTALOOP_PATIENCE": "60s",
    }
    return kept | cluster.environment | mine | {f"QUOTALOOP_{name.upper()}": value for name, value in changed.items()}


def until_done(env: dict[str, str], tries: int = 4) -> None:
    """Run again until a run ends well."""
    said: list[Any] = []
    for _ in range(tries):
        run = Run(env, "run")
        if run.end() == 0:
            return
        said.append(run.said[-1:])
    raise AssertionError(f"no run ended well: {said}")


def wait_until(condition: Callable[[], Any], seconds: float = LONGEST_S) -> bool:
    """Look again and again; False if it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.05)
    return True


EXECUTOR = ("java", "YarnCoarseGrainedExecutorBackend")
MAPPER = ("python", "mr_recount.py --step-num=0 --mapper")


def processes(cluster: Cluster, program: str, word: str) -> list[int]:
    """Processes of a program (the beginning of its name) whose command line holds a word.

    Of those alone that this cluster's YARN started, which tells them where their files are; not who started them.
    """
    theirs = f"LOCAL_DIRS={cluster.folder.resolve()}/data/nodemanager/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                command = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
                variables = (entry / "environ").read_bytes().split(b"\0")
                ours = any(variable.startswith(theirs) for variable in variables)
                if ours and Path(command[0]).name.startswith(program) and word in " ".join(command):
                    found.append(int(entry.name))
    return sorted(found)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
