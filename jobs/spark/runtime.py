"""The one place where a Spark session is opened."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.environment import PYTHON
from jobs.shipping import code_zip
from jobs.spark.yarn import on_yarn
from quotaloop.errors import ServiceUnreachable, UsageError
from quotaloop.settings import SHIPPED, Settings

_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # Blocks of lines come and go: without these the C library gives their memory back and fetches it anew each time.
    "spark.executorEnv.MALLOC_MMAP_THRESHOLD_": "1073741824",
    "spark.executorEnv.MALLOC_TRIM_THRESHOLD_": "1073741824",
}
_LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
_LOGGING = Path(__file__).with_name("log4j2.properties")


@contextmanager
def session(settings: Settings, name: str = "quotaloop") -> Iterator[SparkSession]:
    """A session on the master of the settings, stopped at the end; one that is running already is used and left alone.

    Raises ``ServiceUnreachable`` where there is no Java or the master does not answer, ``UsageError`` where nothing
    says which cluster YARN is.
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
    builder = SparkSession.builder.appName(name)
    for key, value in (_SETTINGS | _own_driver(settings)).items():
        builder = builder.config(key, value)
    try:
        spark: SparkSession = builder.getOrCreate()
    except (Py4JError, PySparkException) as error:
        raise ServiceUnreachable(f"Spark cannot be started on {_master(settings)}: {_cause(error)}") from error
    spark.sparkContext.setLogLevel("ERROR")
    spark.sparkContext.addPyFile(str(code_zip()))
    return spark


def _master(settings: Settings) -> str:
    return "what it was submitted to" if _submitted() else settings.spark_master


def _cause(error: Exception) -> str:
    """The first line of what Java says, else of what Python says."""
    java = getattr(error, "java_exception", None)
    said: str = str(error) if java is None else java.toString()
    return said.splitlines()[0]


def _submitted() -> bool:
    """Was the driver started by ``spark-submit``?"""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _own_driver(settings: Settings) -> dict[str, str]:
    """What this process decides where it starts the driver itself; under ``spark-submit`` the submitter has decided."""
    if _submitted():
        return {}
    if settings.spark_master == "yarn" and not any(map(os.environ.get, ("HADOOP_CONF_DIR", "YARN_CONF_DIR"))):
        raise UsageError(
            "Spark on YARN needs HADOOP_CONF_DIR or YARN_CONF_DIR: the folder with core- and yarn-site.xml"
        )
    if settings.task_python:
        os.environ["PYSPARK_PYTHON"] = PYTHON if settings.task_python == SHIPPED else settings.task_python
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    options = {"spark.master": settings.spark_master, "spark.driver.memory": settings.spark_memory}
    if settings.spark_master == "yarn":
        options |= on_yarn(settings)
    java = ["-XX:TieredStopAtLevel=1"]  # rows never pass through Java: its second compiler would cost, not save
    if _LOGGING.exists():
        java.append(f"-Dlog4j2.configurationFile=file:{_LOGGING}")
    options["spark.driver.extraJavaOptions"] = " ".join(java)
    if settings.spark_master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        options |= _LOCAL
    return options
