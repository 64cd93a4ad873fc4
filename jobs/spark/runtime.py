"""The one place where a Spark session is opened."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

from jobs.environment import PYTHON
from jobs.shipping import code_zip
from jobs.spark.yarn import on_yarn
from quotaloop.errors import ServiceUnreachable
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
    builder = SparkSession.builder.appName(name)
    for key, value in (_SETTINGS | _own_driver(settings)).items():
        builder = builder.config(key, value)
    spark: SparkSession = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark.sparkContext.addPyFile(str(code_zip()))
    return spark


def _own_driver(settings: Settings) -> dict[str, str]:
    """What this process decides where it starts the driver itself; under ``spark-submit`` the submitter has decided."""
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        return {}
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
