"""Table ``usage_hourly``."""

from __future__ import annotations

from jobs.spark.transforms.usage_hourly import usage_hourly
from quotaloop.marts.tables import USAGE_HOURLY
from tests.jobs.spark.frames import HOUR, denied, event, of, rows

TOKENS = {
    "input_tokens": 1,
    "cache_read_tokens": 2,
    "cache_write_tokens": 4,
    "output_tokens": 8,
    "reasoning_tokens": 16,
}


def test_every_outcome_and_amount_of_a_group_is_counted() -> None:
    events = of(
        event("ok", 0, **TOKENS, gpu_ms=0.5, bytes_in=3, bytes_out=5, wanted_tokens=1000),
        event("ok2", HOUR - 1, input_tokens=1, gpu_ms=0.25),
        event("error", 0, status=500, output_tokens=1),
        event("cancelled", 0, status=499),
        denied("denied", 0, wanted_tokens=70, input_tokens=2),
        denied("denied without", 0) | {"event_id": "denied-without"},
    )
    names = [column.name for column in USAGE_HOURLY.measures]
    assert rows(usage_hourly(events), *names) == [(6, 2, 1, 2, 1, 4, 2, 4, 9, 16, 35, 70, 0.75, 3, 5)]


def test_each_part_of_the_grain_makes_a_row_of_its_own() -> None:
    others = {"tenant": "007", "api_version": "v2", "model": "m", "route": "/s", "protocol": "sse"}
    events = [event("e", 0), event("next-hour", HOUR)]
    events += [event(name, 0, **{name: value}) for name, value in others.items()]
    found = usage_hourly(of(*events))
    assert rows(found, *USAGE_HOURLY.grain, "requests") == sorted(
        [
            (0, "a", "v1", "unknown", "/r", "http", 1),
            (1, "a", "v1", "unknown", "/r", "http", 1),
            (0, "007", "v1", "unknown", "/r", "http", 1),
            (0, "a", "v2", "unknown", "/r", "http", 1),
            (0, "a", "v1", "m", "/r", "http", 1),
            (0, "a", "v1", "unknown", "/s", "http", 1),
            (0, "a", "v1", "unknown", "/r", "sse", 1),
        ],
        key=repr,
    )


def test_columns_come_as_declared() -> None:
    assert usage_hourly(of(event("e", 0))).schema == USAGE_HOURLY.schema


def test_rows_come_in_the_order_of_the_grain() -> None:
    """Files are written as rows come, and readers may rely on their order."""
    events = [event(f"{hour}-{name}", hour * HOUR, tenant=f"t{name:02}") for hour in (1, 0) for name in range(50)]
    found = usage_hourly(of(*reversed(events)))
    keys = list(zip(*(found[name].to_pylist() for name in USAGE_HOURLY.grain), strict=True))
    assert keys == sorted(keys)
