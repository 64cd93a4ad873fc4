"""Work spread over the tasks of a Spark session."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import pyarrow as pa
from pyspark.sql import SparkSession

from quotaloop.errors import QuotaloopError

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK_EVERY_S = 0.5


def spread(
    spark: SparkSession,
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    done: Callable[[int], None] = lambda _: None,
) -> list[Result]:
    """What ``work`` makes of each item, in the order of the items; every item is a task of its own.

    ``work``, items and results are pickled. ``done`` hears now and then how many more tasks are through. Raises the
    ``QuotaloopError`` of a task.
    """
    if not items:
        return []
    numbers = spark.range(len(items), numPartitions=len(items))
    packed = [pickle.dumps(item) for item in items]  # a task unpacks only its own
    frame = numbers.mapInArrow(_task(work, packed), "number long, result binary")
    with ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(frame.collect)
        told = 0
        while wait([running], timeout=_LOOK_EVERY_S).not_done:
            completed = max(told, min(_completed_tasks(spark), len(items)))
            done(completed - told)
            told = completed
        rows = running.result()
    done(len(items) - told)
    results = {row.number: pickle.loads(row.result) for row in rows}
    for result in results.values():
        if isinstance(result, QuotaloopError):
            raise result
    return [results[number] for number in range(len(items))]


def by_size(done: Callable[[int], None], sizes: Iterable[int]) -> Callable[[int], None]:
    """A ``done`` of ``spread`` that hears of sizes, as if tasks ended in the order of the items."""
    waiting = iter(sizes)
    return lambda tasks: done(sum(next(waiting) for _ in range(tasks)))


def _attempt(work: Callable[[Item], Result], item: Item) -> Result | QuotaloopError:
    """An error on purpose is a result: trying again would not help, and the driver says it as it was raised."""
    try:
        return work(item)
    except QuotaloopError as error:
        return error


def _completed_tasks(spark: SparkSession) -> int:
    tracker = spark.sparkContext.statusTracker()
    stages = (tracker.getStageInfo(number) for number in tracker.getActiveStageIds())
    return max((stage.numCompletedTasks for stage in stages if stage is not None), default=0)


def _task(
    work: Callable[[Item], Result], packed: Sequence[bytes]
) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    def run(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                made = pickle.dumps(_attempt(work, pickle.loads(packed[number])))
                yield pa.RecordBatch.from_pydict({"number": pa.array([number]), "result": pa.array([made])})

    return run
