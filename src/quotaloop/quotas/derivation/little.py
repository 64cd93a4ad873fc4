"""Requests in flight that demand would keep, also where a limit kept them from being seen: Little's law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import duckdb


@dataclass(frozen=True, slots=True)
class Served:
    """Attempts of a tenant that were not denied, and their mean duration in microseconds, rounded up."""

    attempts: int
    mean_duration_us: int

    def in_flight(self, requests_a_minute: int) -> Fraction:
        """L = lambda * W (Little, "A Proof for the Queuing Formula L = lambda W", 1961), exactly.

        >>> Served(attempts=9, mean_duration_us=1_500_000).in_flight(120)
        Fraction(3, 1)
        """
        return Fraction(requests_a_minute * self.mean_duration_us, 60_000_000)


def served(connection: duckdb.DuckDBPyConnection, hours: Sequence[int]) -> dict[str, Served]:
    """By tenant, over ``hours`` (epoch ms); a tenant of which every attempt was denied is not there."""
    rows = connection.execute(_SERVED, {"hours": list(hours)}).fetchall()
    return {tenant: Served(attempts, -(-total_us // attempts)) for tenant, attempts, total_us in rows}


_SERVED = """
WITH fit AS (SELECT DISTINCT unnest($hours::BIGINT[]) AS hour_ms)
SELECT tenant, count(*), sum(round_even(duration_ms::DOUBLE * 1000, 0)::BIGINT)
FROM events JOIN fit ON epoch_ms(hour) = hour_ms
WHERE outcome <> 'denied' GROUP BY tenant
"""
