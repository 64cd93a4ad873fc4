"""Duplicates and conflicts across lines and files."""

from __future__ import annotations

from typing import Any

from .conftest import rows

COUNTS = ("hour", "topic", "partition", "start_offset", "accepted", "duplicate", "conflicting")


def test_a_repeated_event_is_accepted_where_it_comes_first_by_topic_partition_and_offset(workshop: Any) -> None:
    event = workshop.event("e", 0)
    workshop.land(event, event, partition=1, start=5)
    workshop.land(event, topic="s", partition=7)
    workshop.land(event, partition=0, start=900)
    assert rows(workshop.count()["outcomes"], *COUNTS) == [
        (0, "s", 7, 0, 1, 0, 0),
        (0, "t", 0, 900, 0, 1, 0),
        (0, "t", 1, 5, 0, 2, 0),
    ]


def test_an_id_with_other_content_is_in_conflict_and_is_not_counted(workshop: Any) -> None:
    workshop.land(workshop.event("e", 0, output_tokens=1))
    workshop.land(workshop.event("e", 0, output_tokens=2), workshop.event("e", 0, output_tokens=1), start=1)
    found = workshop.count()
    assert rows(found["outcomes"], *COUNTS[3:]) == [(0, 1, 0, 0), (1, 0, 1, 1)]
    assert rows(found["usage_hourly"], "requests", "output_tokens") == [(1, 1)]


def test_every_field_is_content_and_absent_is_a_value_of_its_own(workshop: Any) -> None:
    event = workshop.event("e", 0)
    others = {"operation": "chat", "ttft_ms": 0, "wanted_tokens": 0, "stream_messages": 1, "retry_of": "x", "seq": 1}
    changed = [
        event | ({name: value} if name != "seq" else {"host": "h", "boot": "b", "seq": 1})
        for name, value in others.items()
    ]
    workshop.land(event, *changed, event | {"method": "POST", "unknown": 1, "model": None})
    assert rows(workshop.count()["outcomes"], *COUNTS[4:]) == [(1, 1, 6)]


def test_ids_are_not_compared_across_hours_or_tenants(workshop: Any) -> None:
    workshop.land(workshop.event("e", 0), workshop.event("e", 3_600_000), workshop.event("e", 0, tenant="b"))
    assert rows(workshop.count()["outcomes"], "hour", "accepted", "duplicate", "conflicting") == [
        (0, 2, 0, 0),
        (1, 1, 0, 0),
    ]
