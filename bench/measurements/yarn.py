"""The whole loop on real servers of this machine: from a topic to HDFS, Spark and MapReduce on YARN.

CPU seconds are those of the whole machine while it runs, servers and tasks included; nothing else may run beside it.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from bench.agreement import Disagreement
from bench.broker import fill, running
from bench.commands import python
from bench.data import TOPIC, Data, generated
from bench.meter import Usage
from bench.pairs import Spread
from bench.results import Row
from quotaloop.marts.release import current
from quotaloop.marts.views import open_views
from quotaloop.storage.address import open_store


def measure(data: Data, rounds: int) -> list[Row]:  # noqa: ARG001 - once each: it is long
    """Two rows: a quarter of the data, and all of it."""
    return [_row(generated(lines)) for lines in (data.lines // 4, data.lines)]


def _row(data: Data) -> Row:
    with data.scratch() as folder, running(folder / "cluster") as cluster:
        environment = cluster.environment
        fill(environment["QUOTALOOP_KAFKA_BROKERS"], data)
        mine = {"QUOTALOOP_KAFKA_TOPICS": TOPIC, "QUOTALOOP_LAND_AFTER": "0s"}
        began, cpu = time.monotonic(), _machine_cpu_s()
        subprocess.run(
            python("quotaloop", "run"), env={**os.environ, **environment, **mine}, check=True, capture_output=True
        )
        used = Usage(_machine_cpu_s() - cpu, time.monotonic() - began, 0)
        _check(environment, data)
    return Row(
        name=f"yarn-{data.lines // 1_000_000}M",
        work="topic to release and policy on HDFS and YARN",
        yardstick_work="",
        lines=data.lines,
        ours=used,
        yardstick=None,
        value=Spread.of([used.wall_s]),
        unit="s",
        wall_ratio=None,
        target=None,
    )


def _check(environment: dict[str, str], data: Data) -> None:
    store = open_store(environment["QUOTALOOP_STORE"], webhdfs=environment["QUOTALOOP_WEBHDFS"])
    release = current(store)
    if release is None:
        raise Disagreement("nothing was released")
    with open_views(store, release, tables=["ingest_ledger"]) as views:
        (lines,) = views.execute("SELECT sum(lines)::BIGINT FROM ingest_ledger").fetchall()[0]
    if lines != data.lines:
        raise Disagreement(f"{lines} of {data.lines} lines are in the ledger")


def _machine_cpu_s() -> float:
    """User, nice and system seconds of all cores since the machine started."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()
    return sum(int(word) for word in words[1:4]) / os.sysconf("SC_CLK_TCK")
