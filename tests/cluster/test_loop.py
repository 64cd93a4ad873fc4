"""The whole loop on real servers: from Kafka to HDFS, Spark and MapReduce on YARN, as ``make run-cluster`` has it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from typing import Any

import pytest

from quotaloop.marts.integrity import check_files
from quotaloop.marts.release import Release, current, published_files, read_days
from quotaloop.marts.views import open_views
from quotaloop.quotas.policy import newest, same_limits
from quotaloop.storage.address import open_store
from quotaloop.storage.store import Store
from tests.cluster.runs import Run, environment
from tests.loop.stores import EXAMPLE, REPOSITORY, Loop, Rows, tables_of
from tests.servers import Cluster

pytestmark = pytest.mark.cluster

SAMPLE = REPOSITORY / "data" / "sample"
_PLACES = ("topic", "partition", "offset")  # of an event: they differ where a file had one partition and a topic four


class Ran:
    """A loop that ran on the cluster over the sample, with how its processes ended."""

    def __init__(self, cluster: Cluster) -> None:
        cluster.up()
        self.topic = f"{'sample-' * 20}{uuid.uuid4().hex[:8]}"  # longer than Hadoop lets the name of a counter be
        self.environment = environment(cluster, f"loop-{self.topic}")
        produce = [sys.executable, str(SAMPLE / "produce.py"), self.environment["QUOTALOOP_KAFKA_BROKERS"], self.topic]
        subprocess.run(produce, check=True, capture_output=True)
        self.codes = [self.call("land", "kafka", "--topic", self.topic), self.call("run")]

    def call(self, *words: str, **more: str) -> tuple[int, list[str]]:
        """Exit code and standard error of a command."""
        ended = Run(self.environment | more, *words)
        return ended.end(), ended.said

    def answer(self, *words: str) -> Any:
        """The document that a command writes."""
        program = [sys.executable, "-c", "from quotaloop.cli import main; main()", "--json", *words]
        ended = subprocess.run(program, env=self.environment, capture_output=True, text=True, check=True)
        return json.loads(ended.stdout)

    @property
    def store(self) -> Store:
        """The store on HDFS."""
        return open_store(self.environment["QUOTALOOP_STORE"], webhdfs=self.environment["QUOTALOOP_WEBHDFS"])

    @property
    def release(self) -> Release:
        """The release in force."""
        found = current(self.store)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def ran(cluster: Cluster) -> Ran:
    """The sample, through the cluster."""
    return Ran(cluster)


@pytest.fixture(scope="module")
def here(ran: Ran, engines: None, tmp_path_factory: pytest.TempPathFactory) -> Loop:  # noqa: ARG001
    """The same lines as a file, on this machine."""
    loop = Loop(tmp_path_factory.mktemp("here") / "store")
    loop.land_file(SAMPLE / "requests.jsonl.gz", ran.topic)
    assert loop.run().released
    return loop


def test_every_command_ends_well(ran: Ran) -> None:
    assert [code for code, _ in ran.codes] == [0, 0], ran.codes


def test_the_tables_are_those_of_a_run_on_this_machine(ran: Ran, here: Loop) -> None:
    found, wanted = tables_of(ran.store, ran.release), here.tables()
    assert found.keys() == wanted.keys()
    for name in sorted(wanted.keys() - {"events", "ingest_ledger", "quota_decisions"}):
        assert found[name] == wanted[name], name
    assert _content(ran.store, ran.release) == _content(here.store, here.release())
    assert _sums(ran.store, ran.release) == _sums(here.store, here.release())


def test_hours_are_counted_twice_and_the_limits_are_the_same(ran: Ran, here: Loop) -> None:
    words = [
        {hour: word for day in read_days(store, release).values() for hour, word in day.counted.items()}
        for store, release in ((ran.store, ran.release), (here.store, here.release()))
    ]
    assert words[0] == words[1]
    assert set(words[0].values()) == {"twice"}
    first, second = newest(ran.store), newest(here.store)
    assert first is not None
    assert second is not None
    assert same_limits(first, second)


def test_every_file_is_what_the_release_says(ran: Ran) -> None:
    check_files(ran.store, published_files(ran.store, ran.release))


def test_a_run_that_finds_nothing_makes_no_release_and_opens_no_session(ran: Ran) -> None:
    before = ran.release.number
    code, said = ran.call("run", QUOTALOOP_KAFKA_TOPICS=ran.topic)
    assert (code, said) == (0, [])
    assert ran.release.number == before


def test_answers_come_from_hdfs(ran: Ran, here: Loop) -> None:
    query = "SELECT count(*), sum(requests)::BIGINT FROM usage_hourly"
    assert [tuple(row) for row in ran.answer("sql", query)["rows"]] == here.sql(query)
    assert ran.answer("status")["release"] == ran.release.number


@pytest.mark.faults
def test_a_resource_manager_that_is_away_ends_a_build_and_a_recount_with_5_and_soon(cluster: Cluster) -> None:
    cluster.up()
    env = environment(cluster, f"away-{uuid.uuid4().hex[:8]}", patience="2s")
    assert Run(env, "land", "files", str(EXAMPLE / "events.jsonl"), "--topic", "example").end() == 0
    cluster.kill("resourcemanager")
    try:
        built = _soon(Run(env, "build"))
        assert "Spark cannot be started on yarn: " in built[-1]
        assert Run(env | {"QUOTALOOP_SPARK_MASTER": "local[2]"}, "build").end() == 0
        recounted = _soon(Run(env, "recount"))
        assert "the recount cannot be started on YARN: " in recounted[-1]
    finally:
        cluster.start("resourcemanager")
    store = open_store(env["QUOTALOOP_STORE"], webhdfs=env["QUOTALOOP_WEBHDFS"])
    assert list(store.files("_tmp/mrjob")) == []


def _soon(run: Run) -> list[str]:
    """What a run says that ends with 5, long before Hadoop's own patience is at its end."""
    began = time.monotonic()
    assert run.end() == 5, run.said
    assert time.monotonic() - began < 120
    return run.said


def _content(store: Store, release: Release) -> Rows:
    """Events without the place where they landed."""
    with open_views(store, release) as views:
        columns = [row[0] for row in views.execute("DESCRIBE events").fetchall() if row[0] not in _PLACES]
        listed = ", ".join(f'"{name}"' for name in columns)
        return views.execute(f"SELECT {listed} FROM events ORDER BY ALL").fetchall()


def _sums(store: Store, release: Release) -> Rows:
    """The ledger, whatever the ranges."""
    with open_views(store, release) as views:
        totals = views.execute(
            "SELECT sum(lines), sum(accepted), sum(duplicate), sum(late), sum(quarantined) FROM ingest_ledger"
        ).fetchall()
        reasons = views.execute(
            "SELECT entry.key, sum(entry.value) FROM (SELECT unnest(map_entries(reasons)) AS entry FROM ingest_ledger) "
            "GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    return totals + reasons
