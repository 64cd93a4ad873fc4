"""The attempts of a release as they came, with what each costs under a limit of each kind: what a backtest replays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quotaloop.quotas.policy import Kind
from quotaloop.quotas.target import TOKEN_CLASSES, TokenClass
from quotaloop.quotas.trial.replay import Longs

COLUMNS = pa.schema(
    [
        ("tenant", pa.string()),
        ("model", pa.string()),
        ("api_version", pa.string()),
        ("hour_ms", pa.int64()),
        ("arrived_ms", pa.int64()),
        ("ended_ms", pa.int64()),
        ("tokens", pa.int64()),
        ("compute", pa.int64()),
        ("was_denied", pa.bool_()),
        ("chain", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Group:
    """One of so many groups of tenants, by a hash of their names; a work of its own."""

    number: int = 0
    of: int = 1


@dataclass(frozen=True, slots=True)
class History:
    """Attempts of one tenant by (ts, event_id), a number each; times in epoch ms, compute in microseconds.

    ``ended_ms`` is rounded up. ``chain`` is the place of the first attempt of its chain, -1 where it is alone.
    """

    tenant: str
    model: npt.NDArray[np.object_]
    api_version: npt.NDArray[np.object_]
    hour_ms: Longs
    arrived_ms: Longs
    ended_ms: Longs
    tokens: Longs
    compute: Longs
    was_denied: npt.NDArray[np.bool_]
    chain: Longs

    def cost(self, kind: Kind) -> Longs:
        """What each costs under a limit of that kind."""
        if kind == "tokens":
            return self.tokens
        return self.compute if kind == "compute" else np.ones(len(self.tokens), np.int64)


def histories(
    connection: duckdb.DuckDBPyConnection,
    hours: Sequence[int],
    *,
    token_classes: Set[TokenClass] = frozenset(TOKEN_CLASSES),
    group: Group = Group(),
) -> Iterator[History]:
    """Of each tenant of the group with attempts in these hours (epoch ms), by name.

    Attempts of one tenant and hour with the same root are a chain. Where no event of a tenant has ``retry_of``, its
    denied attempts are one for each api_key_id, route, model and clock minute. A denied attempt would have taken the
    time, the compute and, without ``wanted_tokens``, the tokens of the first of its chain that was not denied. Where
    there is none, those are the medians (rank ceil(n / 2)) of the tenant's attempts not denied for that model. Of
    tokens, only those of ``token_classes`` count; where these are not all, ``wanted_tokens``, which is of all classes,
    is the last resort.
    """
    parameters = {"hours": list(hours), "number": group.number, "groups": group.of}
    found: pa.Table = connection.sql(_attempts(token_classes), params=parameters).to_arrow_table()
    yield from of_table(found.cast(COLUMNS))


def of_table(table: pa.Table) -> Iterator[History]:
    """The tenants of a table with these ``COLUMNS``, ordered by tenant and time."""
    columns: dict[str, Any] = {name: table[name].to_numpy() for name in table.column_names}
    tenants = columns.pop("tenant")
    places = np.flatnonzero(tenants[1:] != tenants[:-1]) + 1
    edges = [0, *places.tolist(), len(tenants)] if len(tenants) else []
    for start, end in pairwise(edges):
        yield History(str(tenants[start]), **{name: column[start:end] for name, column in columns.items()})


def _attempts(token_classes: Set[TokenClass]) -> str:
    if token_classes == frozenset(TOKEN_CLASSES):
        return _ATTEMPTS.format(charged="total_tokens", unserved="wanted_tokens, served_tokens, median_tokens")
    charged = " + ".join(f"{name}_tokens" for name in TOKEN_CLASSES if name in token_classes)
    return _ATTEMPTS.format(charged=charged, unserved="served_tokens, median_tokens, wanted_tokens")


_ATTEMPTS = """
WITH fit AS (SELECT DISTINCT unnest($hours::BIGINT[]) AS hour_ms),
attempts AS (
    SELECT tenant, model, api_version, route, coalesce(api_key_id, '') AS api_key_id, event_id, retry_of, hour_ms,
        epoch_ms(ts) AS arrived_ms, duration_ms, outcome = 'denied' AS was_denied, wanted_tokens,
        {charged} AS total_tokens, round_even(gpu_ms::DOUBLE * 1000, 0)::BIGINT AS compute
    FROM events JOIN fit ON epoch_ms(hour) = hour_ms WHERE hash(tenant) % $groups = $number),
linked AS (SELECT tenant, count(retry_of) > 0 AS is_linked FROM attempts GROUP BY tenant),
medians AS (
    SELECT tenant, model, quantile_disc(total_tokens, 0.5) AS median_tokens,
        quantile_disc(duration_ms, 0.5) AS median_ms,
        quantile_disc(compute, 0.5) AS median_compute
    FROM attempts WHERE NOT was_denied GROUP BY tenant, model),
rooted AS (
    SELECT *, CASE WHEN is_linked THEN {{'hour': hour_ms, 'root': coalesce(retry_of, event_id)}}
            WHEN was_denied THEN {{'hour': arrived_ms // 60000, 'root': concat_ws(chr(0), api_key_id, route, model)}}
        END AS root,
        row_number() OVER (PARTITION BY tenant ORDER BY arrived_ms, event_id) - 1 AS place
    FROM attempts JOIN linked USING (tenant)),
chained AS (
    SELECT *, min(place) OVER chain AS first_place, count(*) OVER chain AS chain_length,
        arg_min(total_tokens, place) FILTER (NOT was_denied) OVER chain AS served_tokens,
        arg_min(compute, place) FILTER (NOT was_denied) OVER chain AS served_compute,
        arg_min(duration_ms, place) FILTER (NOT was_denied) OVER chain AS served_ms
    FROM rooted WINDOW chain AS (PARTITION BY tenant, root))
SELECT tenant, model, api_version, hour_ms, arrived_ms,
    arrived_ms + ceil(coalesce(CASE WHEN was_denied THEN coalesce(served_ms, median_ms) END, duration_ms))::BIGINT
        AS ended_ms,
    CASE WHEN was_denied THEN coalesce({unserved}, 0) ELSE total_tokens END AS tokens,
    coalesce(CASE WHEN was_denied THEN coalesce(served_compute, median_compute) END, compute) AS compute, was_denied,
    CASE WHEN root IS NULL OR chain_length = 1 THEN -1 ELSE first_place END AS chain
FROM chained LEFT JOIN medians USING (tenant, model)
ORDER BY tenant, place
"""
