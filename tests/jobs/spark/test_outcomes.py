"""Which parsed events are accepted."""

from __future__ import annotations

import pyarrow as pa

from jobs.spark.events import view_once
from jobs.spark.sql import Connection
from jobs.spark.transforms.outcomes import exclusions, outcome_counts
from tests.jobs.spark.frames import DAY, HOUR, event, made, opened, rows, table

BOTH = [DAY, DAY + HOUR]
PLACE = ("topic", "offset", "outcome")


def without(db: Connection, excluded: pa.Table) -> Connection:
    """The same views, with what is excluded."""
    db.register("excluded", excluded)
    db.execute("DROP VIEW accepted")
    db.execute("CREATE VIEW units AS FROM parsed")
    view_once(db, "accepted", BOTH)
    return db


def test_the_first_by_topic_partition_and_offset_is_accepted_whenever_it_came() -> None:
    one = event("e", 5)
    parsed = opened(table(one, topic="b"), table(one, one, topic="a", partition=1, start=7), table(one, topic="a"))
    excluded = exclusions(parsed)
    assert rows(excluded, "topic", "partition", "range_start", "offset", "outcome") == [
        ("a", 1, 7, 7, "duplicate"),
        ("a", 1, 7, 8, "duplicate"),
        ("b", 0, 0, 0, "duplicate"),
    ]
    assert rows(made(without(parsed, excluded), "accepted"), "topic", "partition", "offset") == [("a", 0, 0)]


def test_other_content_is_in_conflict_and_what_equals_the_first_is_not() -> None:
    first = event("e", 5, input_tokens=3)
    other = event("e", 5, input_tokens=4)
    assert rows(exclusions(opened(table(first, other, first, other))), *PLACE) == [
        ("t", 1, "conflicting_duplicate"),
        ("t", 2, "duplicate"),
        ("t", 3, "conflicting_duplicate"),
    ]


def test_defaults_and_unknown_fields_are_no_other_content_but_a_value_where_none_was_is() -> None:
    spelled = event("e", 5, method="POST", output_tokens=0, region="eu", model=None)
    with_ttft = event("e", 5, ttft_ms=0)
    assert rows(exclusions(opened(table(event("e", 5), spelled, with_ttft))), *PLACE) == [
        ("t", 1, "duplicate"),
        ("t", 2, "conflicting_duplicate"),
    ]


def test_an_id_is_compared_within_its_hour_and_tenant_alone() -> None:
    parsed = opened(table(event("e", HOUR - 1), event("e", HOUR), event("e", HOUR, tenant="b")))
    assert rows(exclusions(parsed)) == []
    assert made(without(parsed, exclusions(parsed)), "accepted").num_rows == 3


def test_outcomes_are_counted_by_hour_and_raw_file() -> None:
    parsed = opened(
        table(event("e", 0), event("e", 0), event("e", 1), event("f", HOUR)),
        table(event("e", 0), event("g", 0), start=4),
    )
    assert outcome_counts(without(parsed, exclusions(parsed)), BOTH) == [
        (DAY, "t", 0, 0, 1, 1, 1),
        (DAY, "t", 0, 4, 1, 1, 0),
        (DAY + HOUR, "t", 0, 0, 1, 0, 0),
    ]


def test_what_is_excluded_in_an_hour_that_is_not_asked_for_is_not_counted() -> None:
    parsed = opened(table(event("e", 0), event("e", 0), event("f", HOUR)))
    assert outcome_counts(without(parsed, exclusions(parsed)), [DAY + HOUR]) == [
        (DAY, "t", 0, 0, 1, 0, 0),
        (DAY + HOUR, "t", 0, 0, 1, 0, 0),
    ]


def test_nothing_excluded_leaves_everything() -> None:
    assert outcome_counts(opened(table(event("e", 0))), BOTH) == [(DAY, "t", 0, 0, 1, 0, 0)]


def test_one_id_repeated_without_end_needs_little_memory() -> None:
    """A gateway with a constant id: whole contents of all its events would not fit."""
    one = table(event("e", 0, tenant="t" * 60, route="/" + "r" * 200))
    many = pa.concat_tables([one] * 200_000)
    offsets = pa.array(range(many.num_rows), pa.int64())
    db = opened(many.set_column(many.column_names.index("offset"), "offset", offsets))
    db.execute("SET memory_limit = '64MB'")
    assert exclusions(db).num_rows == many.num_rows - 1
