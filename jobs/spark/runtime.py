"""The one place where a Spark session is opened."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

from jobs.shipping import code_zip
from quotaloop.errors import ServiceUnreachable
from quotaloop.settings import Settings

_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MILLIS",
    "spark.sql.files.maxPartitionBytes": "64m",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
_LOCAL = {
    "spark.sql.shuffle.partitions": "8",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-XX:+UseParallelGC -XX:TieredStopAtLevel=4 -Dlog4j2.level=ERROR",
}


@contextmanager
def session(settings: Settings, name: str = "quotaloop") -> Iterator[SparkSession]:
    """A session on the master of the settings, stopped at the end; one that is running already is used and left alone.

    Raises ``ServiceUnreachable`` where there is no Java.
    """
    running = SparkSession.getActiveSession()
    if running is not None:
        yield running
        return
    spark = _open(settings, name)
    try:
        yield spark
    finally:
        spark.stop()


def _open(settings: Settings, name: str) -> SparkSession:
    if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
        raise ServiceUnreachable("Spark needs Java 17: install it (Debian: apt-get install openjdk-17-jre-headless)")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(name)
    options = dict(_SETTINGS)
    if "SPARK_ENV_LOADED" not in os.environ and "spark.master" not in os.environ:
        builder = builder.master(settings.spark_master)
    if settings.spark_master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        options |= _LOCAL | {"spark.driver.memory": settings.spark_memory}
    for key, value in options.items():
        builder = builder.config(key, value)
    spark: SparkSession = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark.sparkContext.addPyFile(str(code_zip()))
    return spark
