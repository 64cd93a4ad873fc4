"""What a session is opened with, and what is said where it cannot be."""

from __future__ import annotations

import pytest
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from jobs.spark.runtime import session
from jobs.spark.yarn import on_yarn
from quotaloop.errors import ServiceUnreachable, UsageError
from quotaloop.settings import Settings


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other test's session is used."""
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)


def test_yarn_without_the_folder_that_says_which_cluster_is_a_wrong_call(
    alone: None,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HADOOP_CONF_DIR", "")
    monkeypatch.delenv("YARN_CONF_DIR", raising=False)
    with pytest.raises(UsageError, match="HADOOP_CONF_DIR"), session(Settings(spark_master="yarn")):
        pass


def test_a_session_that_java_refuses_is_a_service_away_in_one_line(
    alone: None,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refusing:
        """Py4J's error of ``getOrCreate`` takes a running Java to make; PySpark's own has the same way."""

        appName = config = lambda self, *_: self  # noqa: N815

        def getOrCreate(self) -> SparkSession:  # noqa: N802
            raise PySparkRuntimeError("JAVA_GATEWAY_EXITED: Java gateway process exited\nmore", messageParameters={})

    monkeypatch.setattr(SparkSession, "builder", Refusing())
    with (
        pytest.raises(ServiceUnreachable, match=r"started on local\[2\]: .*exited$"),
        session(Settings(spark_master="local[2]")),
    ):
        pass


def test_hours_are_spread_over_the_executors_that_were_asked_for() -> None:
    chosen = on_yarn(Settings(spark_executors=7))
    assert chosen["spark.default.parallelism"] == chosen["spark.executor.instances"] == "7"


def test_a_resource_manager_is_waited_for_as_long_as_the_patience_says() -> None:
    assert on_yarn(Settings(patience=9_000))["spark.hadoop.yarn.resourcemanager.connect.max-wait.ms"] == "9000"
