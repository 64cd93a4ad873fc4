"""What each tenant asked for in the fit hours: admitted or denied, and a retry is no further demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import duckdb
import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Demand:
    """One tenant and kind over the fit hours, all models together.

    ``active`` counts the minutes with demand (for ``concurrency``: the hours), ``quantile_value`` is their quantile;
    where ``shaped``, both are of hours of the shape alone.
    ``demand``, ``admitted``, ``denied`` and ``unmet`` are sums of amounts (tokens, microseconds of compute); of
    ``concurrency``, the first two are the greatest number in flight, ``denied`` counts attempts, ``unmet`` is None.
    """

    tenant: str
    kind: str
    active: int
    quantile_value: int
    demand: int
    admitted: int
    denied: int
    unmet: int | None
    estimated: bool
    shaped: bool = False


def demands(
    connection: duckdb.DuckDBPyConnection, hours: Sequence[int], *, quantile: Fraction, shape: Sequence[int] = ()
) -> list[Demand]:
    """Demand per tenant and kind in ``hours`` (epoch ms), where there was any, ordered by tenant and kind.

    The quantile q of n active minutes is the element of rank ceil(q * n), ascending. Of a tenant and kind active in
    hours of ``shape``, some of ``hours``, those alone count for it. Rates come from ``demand_minutely``,
    ``concurrency`` from the hourly peaks in ``rate_limit_usage``.

    Where logs do not say enough, a minute's demand is replaced by (``demand`` - ``unmet``) of its rows, which is that
    of chains with an admitted attempt, plus an estimate of the unmet, and the kind is ``estimated``. For a tenant with
    a denied event in these hours:

    - *no event of the tenant has ``retry_of``*: denied attempts cannot be told from their retries. The unmet requests
      are one per (api_key_id, route, model, clock minute) with a denied attempt, of the amount of the first such
      attempt by (ts, event_id). All three rates are estimated.
    - *else*: the unmet requests are the chains without an admitted attempt, each of the amount of its first attempt,
      in that one's minute, as in ``demand_minutely``.
    - *a denied event without ``wanted_tokens``* (NULL; 0 is an amount) wants the median (rank ceil(n / 2)) of
      ``total_tokens`` of the tenant's attempts not denied for that model in these hours, or 0 if there are none. With
      ``retry_of`` known, tokens alone are then estimated.

    A denied request says nothing of the compute it would have used, so unmet compute is what its ``gpu_ms`` says.
    """
    ranks: dict[str, Any] = {"numerator": quantile.numerator, "denominator": quantile.denominator}
    ranks |= {"hours": list(hours), "shape": list(shape)}
    rows = connection.execute(_RATES, ranks).fetchall() + connection.execute(_CONCURRENCY, ranks).fetchall()
    return sorted((Demand(*row) for row in rows), key=lambda found: (found.tenant, found.kind))


def minutely(connection: duckdb.DuckDBPyConnection, hours: Sequence[int]) -> pa.Table:
    """The same demand of rates by tenant, kind and minute (since the epoch), all models together."""
    return connection.sql(_MINUTELY, params={"hours": list(hours)}).to_arrow_table()


_QUANTILE = (
    """len(counted), counted[((len(counted)::HUGEINT * $numerator + $denominator - 1) // $denominator)::BIGINT]"""
)

_COUNTED = """coalesce(list(demand ORDER BY demand) FILTER (demand > 0 AND hour_ms IN (FROM shape)),
        list(demand ORDER BY demand) FILTER (demand > 0)) AS counted,
    coalesce(bool_or(demand > 0 AND hour_ms IN (FROM shape)), false) AS shaped"""

_FIT = "fit AS (SELECT DISTINCT unnest($hours::BIGINT[]) AS hour_ms)"
_SHAPE = "shape AS (SELECT unnest($shape::BIGINT[]) AS hour_ms)"

_CONCURRENCY = f"""
WITH {_FIT},
{_SHAPE},
peaks AS (
    SELECT tenant, max(demand) AS demand, max(admitted) AS admitted, coalesce(sum(denied), 0) AS denied, {_COUNTED}
    FROM rate_limit_usage JOIN fit ON epoch_ms(hour) = hour_ms
    WHERE kind = 'concurrency' GROUP BY tenant HAVING max(demand) > 0)
SELECT tenant, 'concurrency', {_QUANTILE}, demand, admitted, denied, NULL, false, shaped FROM peaks
"""

_UNMET_REQUESTS = f"""
WITH {_FIT},
attempts AS NOT MATERIALIZED (
    SELECT tenant, model, route, coalesce(api_key_id, '') AS api_key_id, event_id, retry_of,
        coalesce(retry_of, event_id) AS root, hour_ms, epoch_ms(ts) AS ts_ms, epoch_ms(ts) // 60000 AS minute,
        outcome = 'denied' AS is_denied, wanted_tokens, total_tokens,
        round_even(gpu_ms::DOUBLE * 1000, 0)::BIGINT AS gpu_us
    FROM events JOIN fit ON epoch_ms(hour) = hour_ms),
logs AS (
    SELECT tenant, count(retry_of) = 0 AS unlinked,
        count(*) FILTER (is_denied AND wanted_tokens IS NULL) > 0 AS unpriced
    FROM attempts GROUP BY tenant HAVING bool_or(is_denied)),
medians AS (
    SELECT tenant, model, quantile_disc(total_tokens, 0.5) AS median_tokens
    FROM attempts JOIN logs USING (tenant) WHERE unpriced AND NOT is_denied GROUP BY tenant, model),
guessed AS (
    SELECT attempts.* FROM attempts JOIN logs USING (tenant) WHERE unlinked AND is_denied
    QUALIFY row_number() OVER (PARTITION BY tenant, api_key_id, route, model, minute ORDER BY ts_ms, event_id) = 1),
refused AS (SELECT attempts.* FROM attempts JOIN logs USING (tenant) WHERE NOT unlinked AND unpriced AND is_denied),
served AS (
    SELECT DISTINCT tenant, hour_ms, root FROM attempts SEMI JOIN refused USING (tenant, hour_ms, root)
    WHERE NOT is_denied),
chained AS (
    SELECT refused.* FROM refused ANTI JOIN served USING (tenant, hour_ms, root)
    QUALIFY row_number() OVER (PARTITION BY tenant, hour_ms, root ORDER BY ts_ms, event_id) = 1),
unmet_requests AS (
    SELECT tenant, minute, coalesce(wanted_tokens, median_tokens, 0) AS tokens, gpu_us
    FROM (SELECT * FROM guessed UNION ALL SELECT * FROM chained) LEFT JOIN medians USING (tenant, model)),
"""

_MINUTES = f"""
{_UNMET_REQUESTS}
estimated_kinds AS (
    SELECT tenant, kind FROM logs, (VALUES ('requests'), ('tokens'), ('compute')) AS kinds (kind)
    WHERE unlinked OR (unpriced AND kind = 'tokens')),
estimates AS (
    SELECT tenant, kind, minute,
        sum(CASE kind WHEN 'requests' THEN 1 WHEN 'tokens' THEN tokens ELSE gpu_us END) AS guess
    FROM unmet_requests JOIN estimated_kinds USING (tenant) GROUP BY tenant, kind, minute),
measured AS (
    SELECT tenant, kind, epoch_ms(minute) // 60000 AS minute, sum(demand) AS demand, sum(admitted) AS admitted,
        sum(denied) AS denied, sum(unmet) AS unmet
    FROM demand_minutely JOIN fit ON epoch_ms(minute) // 3600000 * 3600000 = hour_ms GROUP BY ALL),
minutes AS (
    SELECT tenant, kind, minute, minute // 60 * 3600000 AS hour_ms, estimated_kinds.tenant IS NOT NULL AS estimated,
        CASE WHEN estimated THEN coalesce(guess, 0) ELSE measured.unmet END AS unmet,
        CASE WHEN estimated THEN coalesce(measured.demand - measured.unmet, 0) + coalesce(guess, 0)
            ELSE measured.demand END AS demand, admitted, denied
    FROM measured FULL JOIN estimates USING (tenant, kind, minute) LEFT JOIN estimated_kinds USING (tenant, kind))
"""

_MINUTELY = f"{_MINUTES} SELECT tenant, kind, minute, demand::BIGINT AS demand FROM minutes WHERE demand > 0"

_RATES = f"""
{_MINUTES},
{_SHAPE},
totals AS (
    SELECT tenant, kind, sum(demand)::BIGINT AS demand, coalesce(sum(admitted), 0)::BIGINT AS admitted,
        coalesce(sum(denied), 0)::BIGINT AS denied, sum(unmet)::BIGINT AS unmet, bool_or(estimated) AS estimated,
        {_COUNTED}
    FROM minutes GROUP BY tenant, kind HAVING max(demand) > 0)
SELECT tenant, kind, {_QUANTILE}::BIGINT, demand, admitted, denied, unmet, estimated, shaped FROM totals
"""
