"""Which parsed events are accepted."""

from __future__ import annotations

from pyspark.sql import SparkSession

from jobs.spark.transforms.outcomes import accepted, exclusions, outcome_counts
from tests.jobs.spark.frames import HOUR, event, frame, rows, table

PLACE = ("topic", "offset", "outcome")


def test_the_first_by_topic_partition_and_offset_is_accepted_whenever_it_came(spark: SparkSession) -> None:
    one = event("e", 5)
    parsed = frame(
        spark, table(one, topic="b"), table(one, one, topic="a", partition=1, start=7), table(one, topic="a")
    )
    excluded = exclusions(parsed)
    assert rows(excluded, "topic", "partition", "range_start", "offset", "outcome") == [
        ("a", 1, 7, 7, "duplicate"),
        ("a", 1, 7, 8, "duplicate"),
        ("b", 0, 0, 0, "duplicate"),
    ]
    assert rows(accepted(parsed, excluded), "topic", "partition", "offset") == [("a", 0, 0)]


def test_other_content_is_in_conflict_and_what_equals_the_first_is_not(spark: SparkSession) -> None:
    first = event("e", 5, input_tokens=3)
    other = event("e", 5, input_tokens=4)
    assert rows(exclusions(frame(spark, table(first, other, first, other))), *PLACE) == [
        ("t", 1, "conflicting_duplicate"),
        ("t", 2, "duplicate"),
        ("t", 3, "conflicting_duplicate"),
    ]


def test_defaults_and_unknown_fields_are_no_other_content_but_a_value_where_none_was_is(spark: SparkSession) -> None:
    spelled = event("e", 5, method="POST", output_tokens=0, region="eu", model=None)
    with_ttft = event("e", 5, ttft_ms=0)
    assert rows(exclusions(frame(spark, table(event("e", 5), spelled, with_ttft))), *PLACE) == [
        ("t", 1, "duplicate"),
        ("t", 2, "conflicting_duplicate"),
    ]


def test_an_id_is_compared_within_its_hour_and_tenant_alone(spark: SparkSession) -> None:
    parsed = frame(spark, table(event("e", HOUR - 1), event("e", HOUR), event("e", HOUR, tenant="b")))
    assert rows(exclusions(parsed)) == []
    assert accepted(parsed, exclusions(parsed)).count() == 3


def test_outcomes_are_counted_by_hour_and_raw_file(spark: SparkSession) -> None:
    parsed = frame(
        spark,
        table(event("e", 0), event("e", 0), event("e", 1), event("f", HOUR)),
        table(event("e", 0), event("g", 0), start=4),
    )
    excluded = exclusions(parsed)
    counts = outcome_counts(accepted(parsed, excluded), excluded)
    wanted = ("range_start", "accepted", "duplicate", "conflicting_duplicate")
    assert rows(counts, *wanted) == [(0, 1, 0, 0), (0, 1, 1, 1), (4, 1, 1, 0)]


def test_nothing_excluded_leaves_everything(spark: SparkSession) -> None:
    parsed = frame(spark, table(event("e", 0)))
    assert accepted(parsed, None).count() == 1
    assert rows(outcome_counts(parsed, None), "accepted", "duplicate", "conflicting_duplicate") == [(1, 0, 0)]
