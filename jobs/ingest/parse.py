"""Parse landed ranges into units, spread over the tasks of a Spark session."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait

import pyarrow as pa
from pyspark.sql import SparkSession

from quotaloop.parsed.parse import parse_unit
from quotaloop.parsed.unit import Unit
from quotaloop.storage.address import open_store


def parse_on_spark(
    spark: SparkSession,
    store_url: str,
    units: list[Unit],
    *,
    late_bound_ms: int,
    done: Callable[[int], None] = lambda _: None,
) -> None:
    """Make every unit that is listed, longest first; ``done`` hears now and then of the lines that are through."""
    ordered = sorted(units, key=lambda unit: unit.range.start - unit.range.end)
    numbers = spark.range(len(ordered), numPartitions=len(ordered))
    task = numbers.mapInArrow(_task(store_url, ordered, late_bound_ms), "lines long")
    with ThreadPoolExecutor(max_workers=1) as pool:
        work = pool.submit(task.collect)
        told = 0
        while wait([work], timeout=0.5).not_done:
            tasks = _completed_tasks(spark)
            lines = sum(unit.range.end - unit.range.start for unit in ordered[told:tasks])
            done(lines)
            told = max(told, tasks)
        work.result()
    done(sum(unit.range.end - unit.range.start for unit in ordered[told:]))


def _completed_tasks(spark: SparkSession) -> int:
    tracker = spark.sparkContext.statusTracker()
    stages = (tracker.getStageInfo(number) for number in tracker.getActiveStageIds())
    return max((stage.numCompletedTasks for stage in stages if stage is not None), default=0)


def _task(
    store_url: str, units: list[Unit], late_bound_ms: int
) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    def parse(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        store = open_store(store_url)
        for batch in batches:
            lines = [
                parse_unit(store, units[number], late_bound_ms=late_bound_ms).lines
                for number in batch.column(0).to_pylist()
            ]
            yield pa.RecordBatch.from_pydict({"lines": pa.array(lines, pa.int64())})

    return parse
