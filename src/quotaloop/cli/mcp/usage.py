"""Who used what: ``usage_hourly`` summed by what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from quotaloop.cli.mcp.desk import Answer
from quotaloop.cli.mcp.opened import first_rows, opened, release_now, where
from quotaloop.marts.tables import USAGE_HOURLY, Column
from quotaloop.terminal.output import grid

if TYPE_CHECKING:
    from jobs.work import Work

By = Literal["day", "hour", "tenant", "api_version", "model", "route", "protocol"]


def usage(work: Work, *, tenant: str | None, since: str | None, until: str | None, by: Sequence[By]) -> Answer:
    """Every measure of ``usage_hourly`` summed, a row for each value of ``by``; of all together where it is empty."""
    condition, given = where(since, until, {"tenant": tenant})
    keys = ['hour::DATE AS "day"' if name == "day" else f'"{name}"' for name in dict.fromkeys(by)]
    sums = [_sum(column) for column in USAGE_HOURLY.measures]
    order = "GROUP BY ALL ORDER BY ALL" if keys else ""
    statement = f"SELECT {', '.join([*keys, *sums])} FROM {USAGE_HOURLY.name} {condition} {order}"
    release = release_now(work)
    with opened(work, release, [USAGE_HOURLY.name]) as connection:
        found = first_rows(connection.sql(statement, params=given))
    return Answer({"release": release.number, "since": since, "until": until, **found}, grid(found))


def _sum(column: Column) -> str:
    """Fractions are whole microseconds divided by 1000, so their sum is made of integers: it has one value."""
    exact = f'sum("{column.name}")::BIGINT'
    if column.type == pa.float64():
        exact = f'sum(round("{column.name}" * 1000)::BIGINT)::BIGINT / 1000'
    return f'{exact} AS "{column.name}"'
