"""Attempts, chains and ``demand_minutely``."""

from __future__ import annotations

import pyarrow.compute as pc

from jobs.spark.sql import Connection
from jobs.spark.transforms.attempts import attempts, chains
from jobs.spark.transforms.demand_minutely import demand_minutely, minutely
from tests.jobs.spark.frames import HOUR, MINUTE, Event, denied, event, made, of, rows, where

DEMAND = ("minute", "tenant", "model", "kind", "demand", "admitted", "denied", "unmet")


def minutes(*events: Event) -> Connection:
    """Events up to their sums by the minute."""
    db = of(*events)
    attempts(db)
    chains(db)
    minutely(db)
    return db


def demand(*events: Event, kind: str = "tokens") -> list[tuple[object, ...]]:
    """Rows of one kind, without tenant and kind."""
    return rows(where(demand_minutely(minutes(*events)), "kind", kind, "tenant"))


def test_the_tokens_of_an_attempt_are_what_it_used_or_wanted() -> None:
    db = minutes(
        event("e", 0, input_tokens=2, output_tokens=3, wanted_tokens=99, gpu_ms=1.5),
        denied("wanting", 0, wanted_tokens=50, input_tokens=7, gpu_ms=0.001),
        denied("silent", 0),
    )
    assert rows(made(db, "attempts"), "is_denied", "requests", "tokens", "compute") == [
        (False, 1, 5, 1500),
        (True, 1, 0, 0),
        (True, 1, 50, 1),
    ]


def test_a_denied_request_and_its_retry_are_one_demand() -> None:
    """The demand is that of the admitted attempt, at the minute and with the model it was first asked for."""
    events = (
        denied("e", 0, wanted_tokens=50, model="m"),
        denied("r1", MINUTE, wanted_tokens=60, retry_of="e", model="m"),
        event("r2", 2 * MINUTE, output_tokens=40, retry_of="e", model="n"),
    )
    assert demand(*events) == [
        ("00:00", "m", 0, 0, 50, 0),
        ("00:00", "n", 40, 0, 0, 0),
        ("00:01", "m", 0, 0, 60, 0),
        ("00:02", "n", 0, 40, 0, 0),
    ]
    assert demand(*events, kind="requests")[1] == ("00:00", "n", 1, 0, 0, 0)


def test_a_chain_that_was_never_admitted_is_unmet_with_its_first_attempt() -> None:
    events = (denied("e", 0, wanted_tokens=7), denied("r", MINUTE, wanted_tokens=9, retry_of="e"))
    assert demand(*events) == [("00:00", "unknown", 7, 0, 7, 7), ("00:01", "unknown", 0, 0, 9, 0)]


def test_of_two_admitted_attempts_the_first_by_time_and_then_by_id_is_the_demand() -> None:
    failed = event("e", 0, status=503, output_tokens=1)
    first = event("r-a", MINUTE, output_tokens=10, retry_of="x")
    second = event("r-b", MINUTE, output_tokens=20, retry_of="x")
    assert demand(failed, event("r", MINUTE, output_tokens=5, retry_of="e")) == [
        ("00:00", "unknown", 1, 1, 0, 0),
        ("00:01", "unknown", 0, 5, 0, 0),
    ]
    assert demand(second, first) == [("00:01", "unknown", 10, 30, 0, 0)]


def test_a_retry_in_the_next_hour_or_of_another_tenant_is_another_chain() -> None:
    db = minutes(
        denied("e", HOUR - 1, wanted_tokens=5),
        event("r", HOUR, output_tokens=4, retry_of="e"),
        event("s", HOUR - 1, tenant="b", output_tokens=3, retry_of="e"),
    )
    assert rows(made(db, "chains"), "hour", "tenant", "is_denied", "tokens") == [(0, "b", False, 3), (1, "a", False, 4)]
    alone = made(db, "attempts").filter(pc.field("root").is_null())
    assert rows(alone, "hour", "tenant", "is_denied", "tokens") == [(0, "a", True, 5)]


def test_a_retry_of_a_retry_begins_a_chain_of_its_own() -> None:
    events = (denied("e", 0), denied("r", 1, retry_of="e"), denied("s", 2, retry_of="r"))
    assert demand(*events, kind="requests") == [("00:00", "unknown", 2, 0, 3, 2)]


def test_alone_or_in_a_chain_the_sums_are_the_same() -> None:
    """A single attempt takes a short way; an attempt said to be a retry of nobody takes the long one."""
    short = demand(event("e", 0, output_tokens=3), denied("f", 5, wanted_tokens=4))
    long = demand(event("e", 0, output_tokens=3, retry_of="x"), denied("f", 5, wanted_tokens=4, retry_of="y"))
    assert short == long == [("00:00", "unknown", 7, 3, 4, 4)]


def test_kinds_without_any_amount_have_no_row() -> None:
    found = demand_minutely(minutes(event("e", 0)))
    assert rows(found, *DEMAND) == [("00:00", "a", "unknown", "requests", 1, 1, 0, 0)]
