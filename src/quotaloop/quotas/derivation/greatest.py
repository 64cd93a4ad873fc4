"""The greatest single request of a tenant: where windows are counted, a limit below it would refuse it for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb


def greatest_requests(connection: duckdb.DuckDBPyConnection, hours: Sequence[int]) -> Mapping[tuple[str, str], int]:
    """By tenant and kind, tokens and compute (microseconds), in ``hours`` (epoch ms).

    Only what was not denied: what a client says that it wants may be anything.
    """
    rows = connection.execute(_GREATEST, {"hours": list(hours)}).fetchall()
    return {(tenant, kind): amount for tenant, kind, amount in rows if amount}


_GREATEST = """
WITH fit AS (SELECT DISTINCT unnest($hours::BIGINT[]) AS hour_ms),
amounts AS (
    SELECT tenant, total_tokens AS tokens, round_even(gpu_ms::DOUBLE * 1000, 0)::BIGINT AS compute
    FROM events JOIN fit ON epoch_ms(hour) = hour_ms WHERE outcome <> 'denied')
SELECT tenant, 'tokens', max(tokens) FROM amounts GROUP BY tenant
UNION ALL SELECT tenant, 'compute', max(compute) FROM amounts GROUP BY tenant
"""
