"""Parse landed ranges into units, spread over the tasks of a Spark session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import SparkSession

from jobs.spark.spread import by_size, spread
from quotaloop.parsed.parse import parse_unit
from quotaloop.parsed.unit import Unit
from quotaloop.storage.store import Store


def parse_on_spark(
    spark: SparkSession,
    store: Store,
    units: list[Unit],
    *,
    late_bound_ms: int,
    done: Callable[[int], None] = lambda _: None,
) -> None:
    """Make every unit that is listed, longest first.

    ``done`` hears now and then of lines that are through, as if tasks ended in their order.
    """
    ordered = sorted(units, key=lambda unit: unit.range.start - unit.range.end)
    sizes = (unit.range.end - unit.range.start for unit in ordered)
    spread(spark, _Parse(store, late_bound_ms), ordered, done=by_size(done, sizes))


@dataclass(frozen=True, slots=True)
class _Parse:
    store: Store
    late_bound_ms: int

    def __call__(self, unit: Unit) -> None:
        parse_unit(self.store, unit, late_bound_ms=self.late_bound_ms)
