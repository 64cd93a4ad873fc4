"""Table ``demand_minutely``, and the sums by the minute that it shares with ``rate_limit_usage``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from jobs.spark.sql import Connection, listed, result
from jobs.spark.transforms.attempts import AMOUNTS, KINDS
from quotaloop.marts.tables import DEMAND_MINUTELY

_MINUTE = ("hour", "minute", "tenant", "model")


def minutely(db: Connection) -> None:
    """Make ``minutes`` of ``attempts`` and ``chains``: sums of ``<amount>_<kind>`` per hour, minute, tenant and model.

    Each attempt adds what was admitted or denied; demand and unmet are those of its chain.
    """
    own = {"demand": "root IS NULL", "admitted": "NOT is_denied", "denied": "is_denied"}
    own["unmet"] = "is_denied AND root IS NULL"
    of_chain = {"demand": "true", "admitted": "false", "denied": "false", "unmet": "is_denied"}
    again = ", ".join(f"sum({name})::BIGINT AS {name}" for name in sum_columns())
    db.execute(f"""
        CREATE TEMP TABLE minutes AS
        SELECT {listed(_MINUTE)}, {again}
        FROM ({_sums("attempts", own)} UNION ALL {_sums("chains", of_chain)}) GROUP BY {listed(_MINUTE)}""")


def demand_minutely(db: Connection) -> pa.Table:
    """Of ``minutes``: one row per minute, tenant, model and kind, where one of the amounts is not 0."""
    query = by_kind("minutes", ("minute", "tenant", "model"), AMOUNTS)
    return result(db, query, DEMAND_MINUTELY.schema, DEMAND_MINUTELY.grain)


def sum_columns() -> list[str]:
    """``<amount>_<kind>``."""
    return [f"{amount}_{kind}" for amount in AMOUNTS for kind in KINDS]


def by_kind(source: str, grain: Sequence[str], columns: Iterable[str]) -> str:
    """A query from ``<column>_<kind>`` side by side to one row a kind, without kinds whose amounts are all 0."""
    return " UNION ALL ".join(
        f"""
        SELECT {listed(grain)}, '{kind}' AS kind, {", ".join(f"{column}_{kind} AS {column}" for column in columns)}
        FROM {source} WHERE {" OR ".join(f"{amount}_{kind} <> 0" for amount in AMOUNTS)}"""
        for kind in KINDS
    )


def _sums(source: str, when: dict[str, str]) -> str:
    sums = ", ".join(
        f"coalesce(sum({kind}) FILTER ({when[amount]}), 0) AS {amount}_{kind}" for amount in AMOUNTS for kind in KINDS
    )
    minute = "hour, date_trunc('minute', ts) AS minute, tenant, model"
    return f"SELECT {minute}, {sums} FROM {source} GROUP BY ALL"
