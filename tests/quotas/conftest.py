"""A release as DuckDB views, small enough to work out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pytest

HOUR = 1_772_409_600_000  # 2026-03-02T00:00:00Z
MINUTE = 60_000

TABLES = """
SET TimeZone = 'Asia/Kolkata';
CREATE TABLE minutes_written (minute_ms BIGINT, tenant VARCHAR, model VARCHAR, kind VARCHAR, demand BIGINT,
    admitted BIGINT, denied BIGINT, unmet BIGINT);
CREATE VIEW demand_minutely AS
    SELECT make_timestamptz(minute_ms * 1000) AS minute, * EXCLUDE minute_ms FROM minutes_written;
CREATE TABLE usage_written (hour_ms BIGINT, tenant VARCHAR, kind VARCHAR, demand BIGINT, admitted BIGINT, denied BIGINT,
    unmet BIGINT, peak_second BIGINT, peak_minute BIGINT, demand_peak_minute BIGINT);
CREATE VIEW rate_limit_usage AS SELECT make_timestamptz(hour_ms * 1000) AS hour, * EXCLUDE hour_ms FROM usage_written;
CREATE TABLE attempts_written (event_id VARCHAR, ts_ms BIGINT, tenant VARCHAR, route VARCHAR, api_key_id VARCHAR,
    model VARCHAR, api_version VARCHAR, outcome VARCHAR, retry_of VARCHAR, wanted_tokens BIGINT, total_tokens BIGINT,
    gpu_ms DOUBLE, duration_ms DOUBLE, input_tokens BIGINT DEFAULT 0, cache_read_tokens BIGINT DEFAULT 0,
    cache_write_tokens BIGINT DEFAULT 0, output_tokens BIGINT DEFAULT 0, reasoning_tokens BIGINT DEFAULT 0);
CREATE VIEW events AS SELECT make_timestamptz(ts_ms * 1000) AS ts,
    make_timestamptz(ts_ms // 3600000 * 3600000000) AS hour, * EXCLUDE ts_ms FROM attempts_written;
"""


class Release:
    """Rows go in by these methods; ``connection`` is what the library gets."""

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.connection.execute(TABLES)

    def minute(self, number: int, tenant: str, kind: str, demand: int, *amounts: int, model: str = "m") -> None:
        """A row of demand_minutely, ``number`` minutes after HOUR; amounts: admitted, denied, unmet."""
        row = [HOUR + number * MINUTE, tenant, model, kind, demand, *(amounts or (demand, 0, 0))]
        self.connection.execute("INSERT INTO minutes_written VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def in_flight(self, number: int, tenant: str, most: int, denied: int = 0) -> None:
        """A concurrency row of rate_limit_usage, ``number`` hours after HOUR."""
        row = [HOUR + number * 60 * MINUTE, tenant, most, most, denied]
        self.connection.execute(
            "INSERT INTO usage_written VALUES (?, ?, 'concurrency', ?, ?, ?, NULL, NULL, NULL, NULL)", row
        )

    def event(self, event_id: str, seconds: float, outcome: str, **fields: Any) -> None:
        """An attempt of tenant a, ``seconds`` after HOUR; NULL where nothing is given."""
        row: dict[str, Any] = {
            "tenant": "a",
            "route": "/r",
            "api_key_id": "k",
            "model": "m",
            "api_version": "v1",
            "duration_ms": 100.0,
            "retry_of": None,
            "wanted_tokens": None,
        }
        row |= {"total_tokens": 0, "gpu_ms": 0.0, **fields}
        row |= {"event_id": event_id, "ts_ms": HOUR + int(seconds * 1000), "outcome": outcome}
        names = ", ".join(row)
        marks = ", ".join(f"${name}" for name in row)
        self.connection.execute(f"INSERT INTO attempts_written ({names}) VALUES ({marks})", row)


@pytest.fixture
def release() -> Iterator[Release]:
    """An empty release."""
    made = Release()
    yield made
    made.connection.close()


@pytest.fixture
def busy_minutes(release: Release) -> Callable[..., Release]:
    """Fills minutes 0, 1, 2, ... of a tenant with these demands, all admitted."""

    def fill(tenant: str, kind: str, *demands: int) -> Release:
        for number, demand in enumerate(demands):
            release.minute(number, tenant, kind, demand)
        return release

    return fill
