"""What all tests share: one Spark session, which every run in this process uses, one cluster, one Redis."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadFileScheduling

from peers.redis_server import RedisServer
from quotaloop.settings import Settings
from tests.servers import Cluster

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from redis import Redis

_ROOT = Path(__file__).parents[1]
_RUNNING = os.environ.get("QUOTALOOP_TEST_CLUSTER")  # the --dir of a cluster that is used, and left running

os.environ["TZ"] = "UTC"
time.tzset()
# Once gRPC has run in this process, its handlers of forks end children of PySpark before they are Java.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

# Plans of a few rows: compiling them costs more than running them.
_QUICK = {
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.adaptive.enabled": "false",
}
_QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


class _ByFile(LoadFileScheduling):  # type: ignore[misc]
    """Of several processes that run tests, each takes files as a whole, and one all that need the cluster."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "cluster" if _needs_cluster(file) else file


@cache
def _needs_cluster(file: str) -> bool:
    return "mark.cluster" in (_ROOT / file).read_text("utf-8")


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _ByFile:
    """The order of the tests where ``-n`` asks for several processes."""
    return _ByFile(config, log)


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A local session, open until the last test; ``runtime.session`` finds it and leaves it open."""
    from jobs.spark.runtime import session  # most tests have no need of Spark

    before = os.environ.get("JDK_JAVA_OPTIONS")
    os.environ["JDK_JAVA_OPTIONS"] = _QUICK_JAVA
    try:
        with session(Settings(spark_master="local[2]", spark_memory="1g")) as running:
            for key, value in _QUICK.items():
                running.conf.set(key, value)
            yield running
    finally:
        os.environ.pop("JDK_JAVA_OPTIONS")
        if before is not None:
            os.environ["JDK_JAVA_OPTIONS"] = before


@pytest.fixture(scope="module")
def engines(spark: object) -> Iterator[None]:  # noqa: ARG001 - runs find the open session
    """Spark's session, and the recount in this process; its own processes and the zip are tried by the example."""
    from jobs.mapreduce.recount import recount

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobs.mapreduce.running.recount", partial(recount, runner="inline"))
        yield


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Servers of these tests alone; whoever needs one calls ``up``, all are ended after the last test."""
    if _RUNNING:
        yield Cluster(Path(_RUNNING))
        return
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield made
    finally:
        made.down()


@pytest.fixture(scope="session")
def hdfs_cluster(cluster: Cluster) -> Cluster:
    """The cluster with HDFS ready."""
    cluster.up("namenode", "datanode")
    return cluster


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for all tests; who kills or stops it starts it again."""
    if shutil.which("redis-server") is None:
        pytest.fail("redis-server is not installed; make test-peers installs it")
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def redis_client(redis_server: RedisServer) -> Iterator[Redis]:
    """Of that Redis, emptied."""
    from quotaloop.limiter.redis_store import connect

    with connect(redis_server.url, timeout_ms=5_000) as client:
        client.flushall()
        yield client
