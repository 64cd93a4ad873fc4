"""Spark on YARN: executors of one size, whose memory is that of the tasks, for rows never pass through Java."""

from __future__ import annotations

from pathlib import Path

import pyspark

from jobs import environment
from jobs.yarn_client import waits
from quotaloop.settings import SHIPPED, Settings, megabytes

_HEAP = "512m"  # of an executor's Java
_BESIDE_MB = 768  # of an executor's Python: packages and what Arrow holds


def on_yarn(settings: Settings) -> dict[str, str]:
    """Settings of a session whose driver runs here."""
    chosen = {
        "spark.executor.instances": str(settings.spark_executors),
        "spark.executor.cores": "1",
        # What a build spreads its hours over; until executors have come Spark itself would say 2.
        "spark.default.parallelism": str(settings.spark_executors),
        "spark.executor.memory": _HEAP,
        "spark.executor.memoryOverhead": f"{megabytes(settings.task_memory) + _BESIDE_MB}m",
        "spark.yarn.am.memory": "512m",
        "spark.scheduler.minRegisteredResourcesRatio": "0",  # the first executor begins, others follow
        **{f"spark.hadoop.{name}": value for name, value in waits(settings.patience).items()},
    }
    if settings.task_python == SHIPPED:
        chosen["spark.yarn.dist.archives"] = f"file://{environment.archive()}#{environment.NAME}"
    elif not settings.task_python:  # what is installed here is on every node
        chosen["spark.yarn.jars"] = f"local:{Path(pyspark.__file__).parent}/jars/*"
    return chosen
