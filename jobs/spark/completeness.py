"""Table ``completeness_hourly`` from the runs of stamps of whole boots: small data, gathered on the driver.

Runs of different hours never share a stamp unless a gateway stamped twice. Where they do, the stamp belongs to the
first event by (topic, partition, offset), and the boot's runs are made again from its events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from jobs.spark.sql import Connection
from quotaloop.events.columns import TIME
from quotaloop.marts.tables import COMPLETENESS_HOURLY

Boot = tuple[str, str]
Row = dict[str, Any]


class Run(NamedTuple):
    """Stamps first to last without a hole, all of one hour (epoch ms)."""

    first: int
    last: int
    hour: int


class Seen(NamedTuple):
    """An hour of a boot: least and greatest stamp, and events with a stamp."""

    first: int
    last: int
    events: int


@dataclass(frozen=True, slots=True)
class Rewritten:
    """All rows of the hours that are to be written again."""

    table: pa.Table
    hours: frozenset[int]


def completeness(
    *,
    runs: pa.Table,
    prior: pa.Table,
    owned: Callable[[Boot], list[Run]],
    boots: frozenset[Boot],
    before: pa.Table,
    always: frozenset[int],
) -> Rewritten:
    """Rows of the hours in which a row of one of ``boots`` changes, and of the hours ``always``.

    Rows of other boots in these hours are taken over from ``before``. ``owned`` gives a boot's runs from its events.
    """
    rows = _rows_of_boots(runs, prior, owned, boots)
    old_rows = {(row["hour"], row["host"], row["boot"]): row for row in _dicts(_plain(before))}
    new_rows = {(row["hour"], row["host"], row["boot"]): row for row in rows}
    changed = {key[0] for key, row in new_rows.items() if old_rows.get(key) != row}
    changed |= {hour for hour, host, boot in old_rows if (host, boot) in boots and (hour, host, boot) not in new_rows}
    changed |= {hour for hour, _, _ in new_rows if hour in always}
    kept = [row for (hour, host, boot), row in old_rows.items() if hour in changed and (host, boot) not in boots]
    mine = [row for row in rows if row["hour"] in changed]
    return Rewritten(
        _table([*kept, *mine]).sort_by([(name, "ascending") for name in COMPLETENESS_HOURLY.grain]),
        frozenset(changed | (always & {key[0] for key in old_rows})),
    )


def count_boot(
    runs: Iterable[Run], hours: dict[int, Seen], last_said: int
) -> dict[int, tuple[int, int, int, int, int, int]]:
    """One boot: hour to first_seq, last_seq, expected, received, missing, duplicates.

    ``runs`` hold each stamp once, in the hour that owns it; ``hours`` are the events' own hours; ``last_said`` is the
    greatest ``prev_seq`` that later boots state of this one, 0 if none.
    """
    ordered = sorted(runs)
    received: dict[int, int] = defaultdict(int)
    missing: dict[int, int] = defaultdict(int)
    end = 0
    owner = ordered[0].hour if ordered else 0
    for run in ordered:
        missing[owner] += run.first - end - 1
        received[run.hour] += run.last - run.first + 1
        end, owner = run.last, run.hour
    missing[owner] += max(0, last_said - end)
    return {
        hour: (
            seen.first,
            seen.last,
            received[hour] + missing[hour],
            received[hour],
            missing[hour],
            seen.events - received[hour],
        )
        for hour, seen in hours.items()
    }


def owned_runs(db: Connection, boot: Boot) -> list[Run]:
    """A boot's runs in ``accepted``, with every stamp in the hour of its first event by coordinates."""
    query = """
        SELECT seq, arg_min(epoch_ms(hour), (topic, "partition", "offset")) FROM accepted
        WHERE host = ? AND boot = ? AND seq IS NOT NULL GROUP BY seq ORDER BY seq"""
    runs: list[Run] = []
    for seq, hour in db.execute(query, list(boot)).fetchall():
        if runs and runs[-1].hour == hour and runs[-1].last == seq - 1:
            runs[-1] = runs[-1]._replace(last=seq)
        else:
            runs.append(Run(seq, seq, hour))
    return runs


def _rows_of_boots(
    runs: pa.Table, prior: pa.Table, owned: Callable[[Boot], list[Run]], boots: frozenset[Boot]
) -> list[Row]:
    by_boot: dict[Boot, list[Run]] = defaultdict(list)
    hours: dict[Boot, dict[int, Seen]] = defaultdict(dict)
    for row in _dicts(_plain(runs)):
        boot = (row["host"], row["boot"])
        if boot not in boots:
            continue
        run = Run(row["first_seq"], row["last_seq"], row["hour"])
        by_boot[boot].append(run)
        seen = hours[boot].get(run.hour, Seen(run.first, run.last, 0))
        hours[boot][run.hour] = Seen(min(seen.first, run.first), max(seen.last, run.last), seen.events + row["events"])
    for boot in [boot for boot, found in by_boot.items() if _overlap(found)]:
        by_boot[boot] = owned(boot)
    said: dict[Boot, int] = defaultdict(int)
    for row in _dicts(_plain(prior)):
        before = (row["host"], row["prev_boot"])
        if row["prev_boot"] != row["boot"]:
            said[before] = max(said[before], row["prev_seq"])
    rows: list[Row] = []
    for boot, found in by_boot.items():
        for hour, counts in count_boot(found, hours[boot], said[boot]).items():
            values = (hour, *boot, *counts)
            rows.append(dict(zip(COMPLETENESS_HOURLY.schema.names, values, strict=True)))
    return rows


def _overlap(runs: list[Run]) -> bool:
    ordered = sorted(runs)
    return any(after.first <= run.last for run, after in pairwise(ordered))


def _plain(table: pa.Table) -> pa.Table:
    """Hours as epoch ms."""
    millis = table["hour"].cast(pa.int64())
    return table.set_column(table.column_names.index("hour"), "hour", millis)


def _dicts(table: pa.Table) -> list[Row]:
    rows: list[Row] = table.to_pylist()
    return rows


def _table(rows: list[Row]) -> pa.Table:
    names = COMPLETENESS_HOURLY.schema.names
    columns = {name: [row[name] for row in rows] for name in names}
    hours = pc.cast(pa.array(columns.pop("hour"), pa.int64()), TIME)
    rest = [pa.array(columns[name], COMPLETENESS_HOURLY.schema.field(name).type) for name in names[1:]]
    return pa.table([hours, *rest], schema=COMPLETENESS_HOURLY.schema)
