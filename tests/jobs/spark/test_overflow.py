"""Sums are 64-bit."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.spark import overflow
from quotaloop.errors import CheckRefused
from quotaloop.parsed.unit import Note
from tests.jobs.spark.frames import HOUR, event, frame, table


def huge(spark: SparkSession, column: str, *amounts: int, tenant: str = "acme") -> DataFrame:
    """Events whose amounts no single line could have."""
    events = table(*(event(str(number), HOUR, tenant=tenant) for number in range(len(amounts))))
    place = events.column_names.index(column)
    return frame(spark, events.set_column(place, column, pa.array(amounts, pa.int64())))


@pytest.mark.parametrize("column", ["input_tokens", "total_tokens", "wanted_tokens", "gpu_us", "bytes_out"])
def test_a_sum_that_does_not_fit_stops_the_build_with_its_group_named(spark: SparkSession, column: str) -> None:
    notes = [Note(greatest_sum=2**63)]
    refusal = rf"the sum of {column} of tenant acme on 2026-03-02 does not fit"
    with pytest.raises(CheckRefused, match=refusal):
        overflow.check(huge(spark, column, 2**62, 2**62), notes)


def test_the_greatest_sum_that_fits_is_no_overflow(spark: SparkSession) -> None:
    overflow.check(huge(spark, "input_tokens", 2**62, 2**62 - 1), [Note(greatest_sum=2**63)])


def test_sums_of_different_tenants_are_not_added(spark: SparkSession) -> None:
    events = huge(spark, "bytes_in", 2**62, tenant="a").union(huge(spark, "bytes_in", 2**62, tenant="b"))
    overflow.check(events, [Note(greatest_sum=2**63)])


def test_small_notes_spare_the_look_at_the_events(spark: SparkSession) -> None:
    class Untouched:
        """A frame that nobody may ask."""

    overflow.check(Untouched(), [Note(greatest_sum=2**40), Note(greatest_sum=2**40)])  # type: ignore[arg-type]
    assert spark.range(1).count() == 1
