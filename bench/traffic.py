"""Made-up weeks of traffic to judge quotas on: what tenants want, whatever they are given, and what became of it.

Nobody had limits of their own when it happened: all were served first come, first served under the capacity of a clock
minute. So a tenant that floods takes from all, and the log has denied attempts, what they wanted, and retries.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench.served import served
from bench.tenants import DAY_MINUTES, TENANTS, rates
from jobs.spark.transforms.attempts import attempts, chains
from jobs.spark.transforms.concurrency import concurrency
from jobs.spark.transforms.demand_minutely import demand_minutely, minutely
from jobs.spark.transforms.rate_limit_usage import rate_limit_usage
from quotaloop.settings import Settings

START_MS = 1_772_409_600_000  # 2026-03-02, a Monday
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
TIGHTNESS: Mapping[str, float] = {"loose": 1.0, "near": 0.99, "short": 0.8}  # quantile of the minutes' demand
LOOSE = 1.25  # and of the greatest minute so much, where capacity is loose
SHARE_OF_ONE = 20  # the capacity over this is the safe capacity of a tenant, and over five times this the floor
_TIME = pa.timestamp("ms", tz="UTC")

Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Wants:
    """Requests by time (epoch ms): whose (place in ``TENANTS``), tokens in and out; nothing here knows of a limit."""

    arrived_ms: Longs
    tenant: Longs
    input_tokens: Longs
    output_tokens: Longs

    @property
    def tokens(self) -> Longs:
        """All of a request."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Traffic:
    """``connection`` has the views that quotas are derived from; ``hours`` (epoch ms) are all its hours."""

    connection: duckdb.DuckDBPyConnection
    hours: tuple[int, ...]
    settings: Settings


def traffic(seed: int, *, days: int = 21, tightness: str = "near") -> Traffic:
    """So many days from a Monday on; capacity is ``loose``, ``near`` to what the busy minutes want, or ``short``."""
    wanted = wants(seed, days)
    settings = settings_for(wanted, days, tightness)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    hours = tuple(range(START_MS, START_MS + days * DAY_MS, HOUR_MS))
    make_views(connection, events(wanted, settings, seed), hours)
    return Traffic(connection, hours, settings)


def wants(seed: int, days: int) -> Wants:
    """What all tenants want; each has dice of its own."""
    minute, tenant, prompt, answer = [], [], [], []
    for place, one in enumerate(TENANTS):
        dice = np.random.default_rng([seed, place])
        counts = dice.poisson(rates(one, days, dice))
        total = int(counts.sum())
        minute.append(np.repeat(np.arange(days * DAY_MINUTES), counts) * MINUTE_MS + dice.integers(0, MINUTE_MS, total))
        tenant.append(np.full(total, place))
        prompt.append(1 + dice.lognormal(np.log(one.tokens * 0.7), 0.8, total).astype(np.int64))
        answer.append(1 + dice.lognormal(np.log(one.tokens * 0.3), 0.6, total).astype(np.int64))
    order = np.argsort(np.concatenate(minute), kind="stable")
    arrived, whose, inputs, outputs = (np.concatenate(column)[order] for column in (minute, tenant, prompt, answer))
    return Wants(arrived + START_MS, whose, inputs, outputs)


def settings_for(wanted: Wants, days: int, tightness: str) -> Settings:
    """The defaults, with a capacity for these wants, and with a floor and a safe capacity in proportion to it."""
    minute = (wanted.arrived_ms - START_MS) // MINUTE_MS
    sizes = {}
    for kind, amounts in {"requests": np.ones(len(minute)), "tokens": wanted.tokens}.items():
        a_minute = np.bincount(minute, amounts, days * DAY_MINUTES)
        scale = LOOSE if tightness == "loose" else 1.0
        sizes[kind] = int(np.quantile(a_minute, TIGHTNESS[tightness]) * scale)
    return Settings(
        capacity_requests=sizes["requests"],
        capacity_tokens=sizes["tokens"],
        safe_capacity_requests=max(1, sizes["requests"] // SHARE_OF_ONE),
        safe_capacity_tokens=max(1, sizes["tokens"] // SHARE_OF_ONE),
        floor_requests=max(1, sizes["requests"] // SHARE_OF_ONE // 5),
        floor_tokens=max(1, sizes["tokens"] // SHARE_OF_ONE // 5),
    )


def events(wanted: Wants, settings: Settings, seed: int) -> pa.Table:
    """The log: every request as it came, and what clients tried again within the hour while they were denied."""
    clients = [TENANTS[place].client for place in wanted.tenant.tolist()]
    requests = zip(wanted.arrived_ms.tolist(), wanted.tokens.tolist(), clients, strict=True)
    found = served(requests, settings, random.Random(seed))
    want, arrived, is_denied, by_tokens, root = (np.array(column) for column in zip(*found, strict=True))
    names = np.array([one.name for one in TENANTS])
    ids = np.array([f"e{number}" for number in range(len(want))])
    input_tokens = np.where(is_denied, 0, wanted.input_tokens[want])
    output_tokens = np.where(is_denied, 0, wanted.output_tokens[want])
    none = np.zeros(len(want), np.int64)
    columns = {
        "event_id": ids,
        "ts": pa.array(arrived).cast(_TIME),
        "hour": pa.array(arrived // HOUR_MS * HOUR_MS).cast(_TIME),
        "tenant": names[wanted.tenant[want]],
        "outcome": np.where(is_denied, "denied", "ok"),
        "denied_by": pa.array(np.where(by_tokens, "tokens", "requests"), mask=~is_denied),
        "retry_of": pa.array(ids[root], mask=root == np.arange(len(root))),
        "wanted_tokens": pa.array(wanted.tokens[want], mask=~is_denied),
        "total_tokens": input_tokens + output_tokens,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        **{f"{name}_tokens": none for name in ("cache_read", "cache_write", "reasoning")},
        "duration_us": np.where(is_denied, 1_000, 200_000 + 8_000 * wanted.output_tokens[want]),
        "gpu_us": none,
    }
    return pa.table(columns)


def make_views(db: duckdb.DuckDBPyConnection, log: pa.Table, hours: tuple[int, ...]) -> None:
    """Tables by the transforms of the build itself."""
    db.register("log", log)
    db.execute("""
        CREATE TABLE rated AS SELECT *, '/v1/chat' AS route, 'k' AS api_key_id, 'chat' AS model, 'v1' AS api_version
        FROM log""")
    db.execute("""
        CREATE VIEW events AS
        SELECT * EXCLUDE (duration_us, gpu_us), duration_us / 1000 AS duration_ms, gpu_us / 1000 AS gpu_ms
        FROM rated""")
    db.execute("CREATE VIEW reaching AS FROM rated")
    attempts(db)
    chains(db)
    minutely(db)
    db.register("in_flight", concurrency(db, hours))
    for name, made in {"demand_minutely": demand_minutely(db), "rate_limit_usage": rate_limit_usage(db)}.items():
        db.register("made", made)
        db.execute(f"CREATE TABLE {name} AS FROM made")
    for name in ("log", "in_flight", "made"):
        db.unregister(name)
    for name in ("attempts", "chains", "minutes"):
        db.execute(f"DROP TABLE {name}")
