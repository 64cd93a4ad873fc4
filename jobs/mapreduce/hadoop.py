"""How the recount runs on a Hadoop cluster: mrjob's switches, by the settings and the size of the data."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from jobs import environment
from jobs.yarn_client import waits
from quotaloop.errors import ServiceUnreachable
from quotaloop.settings import SHIPPED, Settings, megabytes

_LINES_A_REDUCER = 1_000_000
_MOST_REDUCERS = 200
_HEAP_MB = 256  # of a task's Java, which only hands bytes on to Python; Hadoop's default is most of the container
_SORT_MB = 64  # of that heap, in one piece; a cluster's own setting may be more than the heap has
_JAVA = f"-Xmx{_HEAP_MB}m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"


def options(settings: Settings, lines: int, scratch: str) -> list[str]:
    """Switches of mrjob for a recount of so many lines, with its files below ``scratch``.

    Raises ``ServiceUnreachable`` where the ``hadoop`` command is missing.
    """
    memory = megabytes(settings.task_memory) + _HEAP_MB
    return [
        "--hadoop-bin",
        shlex.quote(_hadoop(settings)),
        *(["--hadoop-streaming-jar", settings.hadoop_streaming_jar] if settings.hadoop_streaming_jar else []),
        "--hadoop-tmp-dir",
        scratch,
        *_python(settings),
        *_properties(
            {
                "mapreduce.job.name": "quotaloop recount",
                "mapreduce.job.reduces": max(1, min(lines // _LINES_A_REDUCER, _MOST_REDUCERS)),
                "mapreduce.map.memory.mb": memory,
                "mapreduce.reduce.memory.mb": memory,
                "mapreduce.map.java.opts": _JAVA,
                "mapreduce.reduce.java.opts": _JAVA,
                "mapreduce.task.io.sort.mb": _SORT_MB,
                **waits(settings.patience),
            }
        ),
    ]


def _hadoop(settings: Settings) -> str:
    home = os.environ.get("HADOOP_HOME")
    found = settings.hadoop_bin or (f"{home}/bin/hadoop" if home else shutil.which("hadoop"))
    if not found or not Path(found).is_file():
        raise ServiceUnreachable(
            "the recount on Hadoop needs the hadoop command: set QUOTALOOP_HADOOP_BIN, or QUOTALOOP_RECOUNT_ON=local"
        )
    return found


def _python(settings: Settings) -> list[str]:
    if settings.task_python == SHIPPED:
        return ["--archives", f"{environment.archive()}#{environment.NAME}", "--python-bin", environment.PYTHON]
    return ["--python-bin", shlex.quote(settings.task_python or sys.executable)]


def _properties(chosen: dict[str, str | int]) -> list[str]:
    return [word for name, value in chosen.items() for word in ("-D", f"{name}={value}")]
