"""The fault table: real servers and processes are killed, stopped and starved in the middle of every stage.

After each fault and a restart the ledger of what was produced is held against the store: every accepted id once, every
line with its outcome, ranges that tile, and ``CURRENT`` one whole release.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from quotaloop.marts.release import current
from quotaloop.storage.address import open_store
from quotaloop.storage.store import Store
from tests.cluster.ledger import Ledger
from tests.cluster.raw_zone import RawZone
from tests.cluster.runs import EXECUTOR, MAPPER, Run, environment, processes, until_done, wait_until
from tests.cluster.topics import Topic
from tests.servers import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.faults]

STAGES = ("land", "parse", "build", "recount", "audit")
RANGE_BYTES = 2_000_000


class Case:
    """A ledger in a topic, an empty store on HDFS, and runs that land the one into the other."""

    def __init__(self, cluster: Cluster, seed: int, **changed: str) -> None:
        self.cluster = cluster
        self.ledger = Ledger(seed)
        self.topic: Topic = self.ledger.produce(cluster.environment["QUOTALOOP_KAFKA_BROKERS"])
        usual = {"kafka_topics": self.topic.name, "land_after": "0s", "range_bytes": str(RANGE_BYTES)}
        self.environment = environment(cluster, f"faults-{uuid.uuid4().hex[:8]}", **(usual | changed))
        self.runs: list[Run] = []

    @property
    def store(self) -> Store:
        """The store, opened anew."""
        return open_store(self.environment["QUOTALOOP_STORE"], webhdfs=self.environment["QUOTALOOP_WEBHDFS"])

    def run(self, **more: str) -> Run:
        """Begin a run."""
        self.runs.append(Run(self.environment | more, "run"))
        return self.runs[-1]

    def check(self) -> None:
        """Run until there is nothing left to do, and hold the ledger against it."""
        until_done(self.environment)
        self.ledger.check(self.store, self.topic.name)
        last = self.run()
        assert last.end() == 0, last.said
        assert not any(line.startswith(("parse", "build", "recount")) for line in last.said), last.said


@pytest.fixture
def case(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Callable[..., Case]]:
    """Makes cases; servers that a test left dead are up again afterwards."""
    cluster.up()
    made: list[Case] = []

    def make(seed: int, **changed: str) -> Case:
        print(f"{request.node.name}: seed {seed}")
        made.append(Case(cluster, seed, **changed))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            for run in one.runs:
                run.sweep()
        cluster.up()


def strike(case: Case, stages: tuple[str, ...], blow: Callable[[], None]) -> Run:
    """Let something happen in the middle of every stage, whether the run survives it or has to be begun again.

    The run that was struck last, which has ended.
    """
    run = case.run()
    for stage in stages:
        while not run.wait_for(stage):
            assert run.end() != 0, f"no {stage} in {run.said}"
            run = case.run()
        blow()
    run.end()
    return run


@pytest.mark.parametrize(("server", "seed"), [("namenode", 101), ("datanode", 102)])
def test_a_server_of_hdfs_is_killed_in_every_stage_and_comes_back(
    case: Callable[..., Case], server: str, seed: int
) -> None:
    one = case(seed)

    def blow() -> None:
        one.cluster.kill(server)
        one.cluster.start(server)

    strike(one, STAGES, blow)
    one.check()


def test_the_broker_is_killed_while_records_land_and_comes_back(case: Callable[..., Case]) -> None:
    one = case(103)

    def blow() -> None:
        one.cluster.kill("kafka")
        one.cluster.start("kafka")

    run = strike(one, ("land",), blow)
    assert run.end() == 0, run.said
    assert one.runs == [run]
    one.check()


@pytest.mark.parametrize(("stage", "seed"), [("parse", 104), ("build", 105), ("recount", 106), ("audit", 107)])
def test_a_run_with_its_spark_driver_is_killed(case: Callable[..., Case], stage: str, seed: int) -> None:
    one = case(seed)
    run = one.run()
    assert run.wait_for(stage)
    run.sweep()
    run.kill()
    one.check()


def test_an_executor_of_spark_is_killed_and_the_run_goes_on(case: Callable[..., Case]) -> None:
    one = case(108)
    run = one.run()
    assert run.wait_for("build")
    assert wait_until(lambda: processes(one.cluster, *EXECUTOR), 60)
    for process in processes(one.cluster, *EXECUTOR):
        os.kill(process, signal.SIGKILL)
    assert run.end() == 0, run.said
    one.check()


def test_a_task_of_mapreduce_is_killed_and_the_run_goes_on(case: Callable[..., Case]) -> None:
    one = case(109)
    run = one.run()
    assert run.wait_for("recount")
    seen: list[int] = []

    def killed() -> bool:
        with suppress(ProcessLookupError):
            for task in processes(one.cluster, *MAPPER)[:1]:
                os.kill(task, signal.SIGKILL)
                seen.append(task)
        return bool(seen)

    assert wait_until(lambda: killed() or run.has_ended, 240)
    assert seen, run.said
    assert run.end() == 0, run.said
    one.check()


def test_a_datanode_is_stopped_for_longer_than_its_timeout_and_woken_up(case: Callable[..., Case]) -> None:
    one = case(110)

    def blow() -> None:
        one.cluster.kill("datanode", "STOP")
        assert wait_until(lambda: _dead_datanodes(one.cluster) == 1, 120)
        one.cluster.kill("datanode", "CONT")
        assert wait_until(lambda: _dead_datanodes(one.cluster) == 0, 120)

    strike(one, ("build",), blow)
    one.check()


def test_nothing_is_released_while_the_namenode_is_in_safe_mode(case: Callable[..., Case]) -> None:
    one = case(111, patience="5s")
    run = one.run(QUOTALOOP_STOP_AT="release:days")
    assert run.stopped()
    _safe_mode(one.cluster, "enter")
    try:
        os.kill(run.process.pid, signal.SIGCONT)
        assert run.end() == 5
        assert "safe mode" in run.said[-1]
        assert current(one.store) is None
    finally:
        _safe_mode(one.cluster, "leave")
    one.check()


@pytest.mark.parametrize(("point", "seed"), [("release:days", 112), ("release:numbered", 116)])
def test_the_namenode_is_killed_while_a_release_is_made(case: Callable[..., Case], point: str, seed: int) -> None:
    one = case(seed)
    run = one.run(QUOTALOOP_STOP_AT=point)
    assert run.stopped(), run.said
    one.cluster.kill("namenode")
    os.kill(run.process.pid, signal.SIGCONT)
    one.cluster.start("namenode")
    assert run.end() == 0, run.said
    assert current(one.store) is not None
    one.check()


def test_a_run_that_slept_past_its_lease_and_wakes_up_does_no_harm(case: Callable[..., Case]) -> None:
    one = case(113, lease="2s")
    sleeper = one.run(QUOTALOOP_STOP_AT="audit:done")
    assert sleeper.stopped()
    other = Run(one.environment | {"QUOTALOOP_LEASE": "0s"}, "run")
    assert other.end() == 0, other.said
    before = current(one.store)
    os.kill(sleeper.process.pid, signal.SIGCONT)
    assert sleeper.end() == 0, sleeper.said
    assert current(one.store) == before
    one.check()


@pytest.mark.parametrize(("megabytes", "seed"), [(2, 114), (10, 115)])
def test_a_disk_that_is_full_ends_a_run_in_one_line_and_room_lets_it_go_on(
    tmp_path: Path, brokers: str, megabytes: int, seed: int
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted for it: {mounted.stderr.strip()}")
    try:
        ledger = Ledger(seed)
        topic = ledger.produce(brokers)
        zone = RawZone(disk / "store", brokers)
        settings = {
            "QUOTALOOP_KAFKA_TOPICS": topic.name,
            "QUOTALOOP_LAND_AFTER": "0s",
            "QUOTALOOP_RANGE_BYTES": str(RANGE_BYTES),
            "QUOTALOOP_SPARK_MASTER": "local[2]",
        }
        code, _, err = zone.call("run", **settings)
        assert code == 1, err
        assert "space" in err.splitlines()[-1]
        assert current(zone.store) is None
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        code, _, err = zone.call("run", **settings)
        assert code == 0, err
        ledger.check(zone.store, topic.name)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        shutil.rmtree(disk)


def _dead_datanodes(cluster: Cluster) -> int:
    query = "/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"
    with urlopen(cluster.environment["QUOTALOOP_WEBHDFS"] + query, timeout=10) as answer:
        return int(json.load(answer)["beans"][0]["NumDeadDataNodes"])


def _safe_mode(cluster: Cluster, word: str) -> None:
    cluster.java("org.apache.hadoop.hdfs.tools.DFSAdmin", "-safemode", word)
