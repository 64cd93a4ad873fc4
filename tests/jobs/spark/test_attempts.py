"""Attempts, chains and ``demand_minutely``."""

from __future__ import annotations

from pyspark.sql import SparkSession

from jobs.spark.transforms.attempts import attempts, chains, contributions
from jobs.spark.transforms.demand_minutely import demand_minutely, minutely
from tests.jobs.spark.frames import HOUR, MINUTE, Event, denied, event, of, rows

DEMAND = ("minute", "tenant", "model", "kind", "demand", "admitted", "denied", "unmet")


def demand(spark: SparkSession, *events: Event, kind: str = "tokens") -> list[tuple[object, ...]]:
    """Rows of one kind, without tenant and kind."""
    found = demand_minutely(minutely(contributions(attempts(of(spark, *events))))).where(f"kind = '{kind}'")
    return rows(found.drop("tenant", "kind"))


def test_the_tokens_of_an_attempt_are_what_it_used_or_wanted(spark: SparkSession) -> None:
    found = attempts(
        of(
            spark,
            event("e", 0, input_tokens=2, output_tokens=3, wanted_tokens=99, gpu_ms=1.5),
            denied("wanting", 0, wanted_tokens=50, input_tokens=7, gpu_ms=0.001),
            denied("silent", 0),
        )
    )
    assert rows(found, "event_id", "is_denied", "requests", "tokens", "compute") == [
        ("e", False, 1, 5, 1500),
        ("silent", True, 1, 0, 0),
        ("wanting", True, 1, 50, 1),
    ]


def test_a_denied_request_and_its_retry_are_one_demand(spark: SparkSession) -> None:
    """The demand is that of the admitted attempt, at the minute and with the model it was first asked for."""
    events = (
        denied("e", 0, wanted_tokens=50, model="m"),
        denied("r1", MINUTE, wanted_tokens=60, retry_of="e", model="m"),
        event("r2", 2 * MINUTE, output_tokens=40, retry_of="e", model="n"),
    )
    assert demand(spark, *events) == [
        ("00:00", "m", 0, 0, 50, 0),
        ("00:00", "n", 40, 0, 0, 0),
        ("00:01", "m", 0, 0, 60, 0),
        ("00:02", "n", 0, 40, 0, 0),
    ]
    assert demand(spark, *events, kind="requests")[1] == ("00:00", "n", 1, 0, 0, 0)


def test_a_chain_that_was_never_admitted_is_unmet_with_its_first_attempt(spark: SparkSession) -> None:
    events = (denied("e", 0, wanted_tokens=7), denied("r", MINUTE, wanted_tokens=9, retry_of="e"))
    assert demand(spark, *events) == [("00:00", "unknown", 7, 0, 7, 7), ("00:01", "unknown", 0, 0, 9, 0)]


def test_of_two_admitted_attempts_the_first_by_time_and_then_by_id_is_the_demand(spark: SparkSession) -> None:
    failed = event("e", 0, status=503, output_tokens=1)
    first = event("r-a", MINUTE, output_tokens=10, retry_of="x")
    second = event("r-b", MINUTE, output_tokens=20, retry_of="x")
    assert demand(spark, failed, event("r", MINUTE, output_tokens=5, retry_of="e")) == [
        ("00:00", "unknown", 1, 1, 0, 0),
        ("00:01", "unknown", 0, 5, 0, 0),
    ]
    assert demand(spark, second, first) == [("00:01", "unknown", 10, 30, 0, 0)]


def test_a_retry_in_the_next_hour_or_of_another_tenant_is_another_chain(spark: SparkSession) -> None:
    rooted = of(
        spark,
        denied("e", HOUR - 1, wanted_tokens=5),
        event("r", HOUR, output_tokens=4, retry_of="e"),
        event("s", HOUR - 1, tenant="b", output_tokens=3, retry_of="e"),
    )
    assert rows(chains(attempts(rooted)), "hour", "tenant", "is_denied", "tokens") == [
        (0, "a", True, 5),
        (0, "b", False, 3),
        (1, "a", False, 4),
    ]


def test_a_retry_of_a_retry_begins_a_chain_of_its_own(spark: SparkSession) -> None:
    events = (denied("e", 0), denied("r", 1, retry_of="e"), denied("s", 2, retry_of="r"))
    assert demand(spark, *events, kind="requests") == [("00:00", "unknown", 2, 0, 3, 2)]


def test_alone_or_in_a_chain_the_sums_are_the_same(spark: SparkSession) -> None:
    """A single attempt takes a short way; an attempt said to be a retry of nobody takes the long one."""
    short = demand(spark, event("e", 0, output_tokens=3), denied("f", 5, wanted_tokens=4))
    long = demand(spark, event("e", 0, output_tokens=3, retry_of="x"), denied("f", 5, wanted_tokens=4, retry_of="y"))
    assert short == long == [("00:00", "unknown", 7, 3, 4, 4)]


def test_kinds_without_any_amount_have_no_row(spark: SparkSession) -> None:
    found = demand_minutely(minutely(contributions(attempts(of(spark, event("e", 0))))))
    assert rows(found, *DEMAND) == [("00:00", "a", "unknown", "requests", 1, 1, 0, 0)]
