"""The made-up weeks: the same from the same seed, with the shapes they say, and tables as the build makes them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import __main__ as bench
from bench.measurements import evaluate
from bench.page import between
from bench.served import Attempt, Client, served
from bench.tenants import DAY_MINUTES, FLASH_DAY, FLASH_MINUTES, FLOOD_HOURS, FLOODING, TENANTS, Tenant, rates
from bench.traffic import DAY_MS, MINUTE_MS, START_MS, TIGHTNESS, Longs, Traffic, settings_for, traffic, wants
from quotaloop.settings import Settings

DAYS = 28
STEADY = Tenant("steady", 2.0, 500, bursts=0)


def a_day(tenant: Tenant) -> list[float]:
    """What it wants of each day, on average."""
    minutes = rates(tenant, DAYS, np.random.default_rng(1))
    return [float(sum(day)) for day in np.split(minutes, DAYS)]


@pytest.fixture(scope="module")
def week() -> Iterator[Traffic]:
    """A Monday and a Tuesday with too little capacity."""
    made = traffic(3, days=2, tightness="short")
    yield made
    made.connection.close()


def test_the_same_seed_gives_the_same_wants_and_another_gives_others() -> None:
    first, again, other = (wants(seed, 1) for seed in (3, 3, 4))
    assert all(np.array_equal(getattr(first, name), getattr(again, name)) for name in type(first).__slots__)
    assert len(first.tenant) != len(other.tenant) or not np.array_equal(first.tenant, other.tenant)


def test_the_same_seed_gives_the_same_log(week: Traffic) -> None:
    again = traffic(3, days=2, tightness="short").connection
    query = "SELECT count(*), count(retry_of), bit_xor(hash(event_id, ts, outcome, retry_of, total_tokens)) FROM events"
    assert again.execute(query).fetchall() == week.connection.execute(query).fetchall()


def test_what_tenants_want_does_not_depend_on_the_capacity(week: Traffic) -> None:
    loose = traffic(3, days=2, tightness="loose").connection
    query = "SELECT tenant, sum(demand) FROM demand_minutely GROUP BY tenant ORDER BY tenant"
    assert loose.execute(query).fetchall() == week.connection.execute(query).fetchall()
    assert loose.execute("SELECT count(*) FROM events WHERE outcome = 'denied'").fetchall() == [(0,)]


def test_capacity_is_below_at_and_above_the_busy_minutes() -> None:
    found = wants(3, 7)
    minute = np.bincount((found.arrived_ms - START_MS) // MINUTE_MS)
    short, near, loose = (settings_for(found, 7, tight).capacity_requests for tight in ("short", "near", "loose"))
    assert set(TIGHTNESS) == {"short", "near", "loose"}
    assert loose >= 1.2 * minute.max()
    assert 0.005 < np.mean(minute > near) < 0.012
    assert 0.15 < np.mean(minute > short) < 0.22


def test_days_have_a_peak_weekends_are_quiet_and_some_grow() -> None:
    days = a_day(STEADY)
    assert max(days[5:7]) < 0.5 * min(days[:5])
    minutes = rates(STEADY, 5, np.random.default_rng(1)).reshape(5, 24, 60).sum(axis=(0, 2))
    assert minutes.argmax() in (13, 14)
    assert minutes.max() > 5 * minutes.min()
    assert 1.7 < a_day(replace(STEADY, growth=2))[25] / days[25] < 2.0


def test_bursts_are_minutes_of_several_times_the_rate() -> None:
    calm, busy = (
        rates(replace(STEADY, bursts=bursts), 5, np.random.default_rng(1)) for bursts in (0, 4)
    )  # the same noise: it is thrown first
    is_burst = busy > calm
    assert 0.02 < is_burst.mean() < 0.15
    assert np.all((busy[is_burst] / calm[is_burst] >= 3) & (busy[is_burst] / calm[is_burst] <= 7))


def test_tenants_come_and_go() -> None:
    days = a_day(replace(STEADY, first=8, last=10))
    assert [day for day, wanted in enumerate(days) if wanted] == [8, 9]
    assert any(one.first for one in TENANTS)
    assert any(one.last < 21 for one in TENANTS)


def test_a_crowd_comes_at_once_and_one_tenant_floods_on_working_days() -> None:
    calm, flash, flood = (
        rates(tenant, 14, np.random.default_rng(1)).reshape(14, DAY_MINUTES)
        for tenant in (STEADY, replace(STEADY, flash=True), replace(STEADY, floods=True))
    )
    assert flash[FLASH_DAY, FLASH_MINUTES.start] > 14 * calm[FLASH_DAY, FLASH_MINUTES.start]
    assert np.array_equal(flash[:FLASH_DAY], calm[:FLASH_DAY])
    assert flood[0, FLOOD_HOURS.start * 60] > 5 * calm[0, FLOOD_HOURS.start * 60]
    assert np.array_equal(flood[5:7], calm[5:7])
    assert [one.name for one in TENANTS if one.floods] == [FLOODING]


def log_of(requests: list[tuple[int, int, Client]], capacity: int) -> list[Attempt]:
    """With 100 tokens a minute, and waits as they stand."""

    class Exact(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return (a + b) / 2

    return served(requests, Settings(capacity_requests=capacity, capacity_tokens=100), Exact())


def test_who_comes_first_is_served_and_the_denied_try_again() -> None:
    client = Client(retries=3, wait_ms=2_000, backoff=4)
    found = log_of([(0, 40, client), (50_000, 61, client), (60_100, 50, client)], 9)
    assert found == [
        Attempt(0, 0, False, False, 0),
        Attempt(1, 50_000, True, True, 1),
        Attempt(1, 52_000, True, True, 1),
        Attempt(1, 60_000, False, False, 1),  # 8 s later, in the next minute
        Attempt(2, 60_100, True, True, 4),
        Attempt(2, 62_100, True, True, 4),
        Attempt(2, 70_100, True, True, 4),
        Attempt(2, 102_100, True, True, 4),
    ]


def test_requests_run_out_before_tokens_are_looked_at_and_nobody_tries_again_in_the_next_hour() -> None:
    client = Client(retries=5, wait_ms=60_000, backoff=1)
    found = log_of([(3_590_000, 1, client), (3_590_001, 500, client)], 1)
    assert found == [Attempt(0, 3_590_000, False, False, 0), Attempt(1, 3_590_001, True, False, 1)]


def test_the_log_says_what_was_denied_and_what_is_a_retry(week: Traffic) -> None:
    def one(query: str) -> tuple[int, ...]:
        (row,) = week.connection.execute(query).fetchall()
        return tuple(row)

    is_right = "outcome = 'denied') = (wanted_tokens IS NOT NULL AND denied_by IS NOT NULL AND total_tokens = 0"
    assert one(f"SELECT count(*) FILTER (NOT (({is_right}))) FROM events") == (0,)
    orphans = (
        "SELECT count(*) FROM events AS r LEFT JOIN events AS f ON f.event_id = r.retry_of AND f.tenant = r.tenant"
    )
    late = "f.event_id IS NULL OR f.outcome <> 'denied' OR f.retry_of IS NOT NULL OR f.hour <> r.hour OR f.ts > r.ts"
    assert one(f"{orphans} WHERE r.retry_of IS NOT NULL AND ({late})") == (0,)
    again, most = one(f"SELECT count(retry_of), count(*) FILTER (tenant = '{FLOODING}') - count(*) / 4 FROM events")
    assert again > 0
    assert most > 0


def test_no_minute_admits_more_than_the_capacity(week: Traffic) -> None:
    rows = week.connection.execute(
        "SELECT kind, max(admitted) FROM (SELECT kind, minute, sum(admitted) AS admitted FROM demand_minutely"
        " GROUP BY kind, minute) GROUP BY kind ORDER BY kind"
    ).fetchall()
    (_, requests), (_, tokens) = rows
    assert requests <= week.settings.capacity_requests
    assert 0.9 * week.settings.capacity_tokens < tokens <= week.settings.capacity_tokens


def test_the_tables_count_every_want_once(week: Traffic) -> None:
    found = wants(3, 2)
    rows = week.connection.execute(
        "SELECT kind, sum(demand) FROM demand_minutely GROUP BY kind ORDER BY kind"
    ).fetchall()
    assert rows == [("requests", len(found.tenant)), ("tokens", int(found.tokens.sum()))]
    assert a_minute(week) == np.bincount((found.arrived_ms - START_MS) // MINUTE_MS, minlength=2 * DAY_MINUTES).tolist()
    assert week.hours[-1] + 3_600_000 == START_MS + 2 * DAY_MS


def a_minute(week: Traffic) -> list[int]:
    """Requests that were wanted of each minute."""
    counts: Longs = np.zeros(2 * DAY_MINUTES, np.int64)
    query = (
        "SELECT (epoch_ms(minute) - ?) // 60000, sum(demand) FROM demand_minutely WHERE kind = 'requests' GROUP BY 1"
    )
    for minute, demand in week.connection.execute(query, [START_MS]).fetchall():
        counts[minute] = demand
    found: list[int] = counts.tolist()
    return found


def test_a_way_is_a_row_of_its_kind() -> None:
    figures = {
        **{"demand": 1_000, "denied": 20, "denied_share": 0.02, "minutes_over": 3, "over": 4_000},
        **{"denied_while_free_share": 0.01, "denied_within_share_share": 0.005, "jain": 0.9876, "change": None},
        **{"worst_tenant": "a", "worst_share": 0.5},
    }
    level = {"days": ["2026-03-03"], "tenants": 2, "capacity": {"tokens": 5_000}, "methods": {"w": {"tokens": figures}}}
    shown = evaluate.tables({"seed": 5, "days": 2, "levels": {"near": level}})
    assert "### Capacity near: tokens, 5,000 a minute\n\n1 days, 2 tenants, 1,000 tokens wanted." in shown
    assert "\n| w | 2.00 % | 3 | 4,000 | 1.00 % | 0.50 % | 0.988 | - | a: 50.00 % |" in shown


def test_the_committed_page_shows_the_committed_evaluation(tmp_path: Path) -> None:
    copy = tmp_path / "evaluation.md"
    copy.write_text(bench.EVALUATION_PAGE.read_text("utf-8"), "utf-8")
    between(evaluate.tables(evaluate.read(bench.EVALUATION)), copy)
    assert copy.read_text("utf-8") == bench.EVALUATION_PAGE.read_text("utf-8"), "run `python -m bench --render`"
