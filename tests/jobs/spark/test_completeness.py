"""Table ``completeness_hourly``: counting a boot, and which hours are written again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from jobs.spark.completeness import Rewritten, Run, Seen, completeness, count_boot, owned_runs
from jobs.spark.transforms.stamp_runs import prior_stamps, stamp_runs
from quotaloop.marts.tables import COMPLETENESS_HOURLY
from tests.jobs.spark.frames import DAY, HOUR, Event, event, opened, table

B, C = ("h", "b"), ("h", "c")


def test_a_hole_between_neighbours_is_in_the_hour_of_the_one_before() -> None:
    runs, hours = [Run(1, 3, 0), Run(7, 8, HOUR)], {0: Seen(1, 3, 3), HOUR: Seen(7, 8, 2)}
    assert count_boot(runs, hours, 0) == {0: (1, 3, 6, 3, 3, 0), HOUR: (7, 8, 2, 2, 0, 0)}


def test_what_lacks_before_the_first_is_in_its_hour() -> None:
    assert count_boot([Run(4, 5, HOUR)], {HOUR: Seen(4, 5, 2)}, 0) == {HOUR: (4, 5, 5, 2, 3, 0)}


def test_what_a_later_boot_says_is_missing_after_the_last_event() -> None:
    runs, hours = [Run(1, 1, 0), Run(2, 2, HOUR)], {0: Seen(1, 1, 1), HOUR: Seen(2, 2, 1)}
    assert count_boot(runs, hours, 6)[HOUR] == (2, 2, 5, 1, 4, 0)
    assert count_boot(runs, hours, 1)[HOUR] == (2, 2, 1, 1, 0, 0)


def test_the_neighbour_by_seq_counts_whatever_hour_it_is_in() -> None:
    """Seq 2 was stamped in the hour after that of 3: the hole behind 3 is in the earlier hour."""
    runs = [Run(1, 1, 0), Run(2, 2, HOUR), Run(3, 3, 0), Run(5, 5, HOUR)]
    hours = {0: Seen(1, 3, 2), HOUR: Seen(2, 5, 2)}
    assert count_boot(runs, hours, 0) == {0: (1, 3, 3, 2, 1, 0), HOUR: (2, 5, 2, 2, 0, 0)}


def test_events_beyond_one_for_a_stamp_are_duplicates_of_their_own_hour() -> None:
    """Stamp 2 belongs to the first hour; the second hour has one event of it and no stamp of its own."""
    hours = {0: Seen(1, 2, 3), HOUR: Seen(2, 2, 1)}
    assert count_boot([Run(1, 2, 0)], hours, 0) == {0: (1, 2, 2, 2, 0, 1), HOUR: (2, 2, 0, 0, 0, 1)}


def stamped(seq: int, ts: int, boot: str = "b", copy: int = 0, **fields: Any) -> Event:
    return event(f"{boot}-{seq}-{copy}", ts, host="h", boot=boot, seq=seq, **fields)


def count(
    *files: pa.Table,
    boots: frozenset[tuple[str, str]],
    before: Sequence[tuple[Any, ...]] = (),
    always: tuple[int, ...] = (),
) -> Rewritten:
    """``before`` are rows with hours as numbers; so is ``always``."""
    events = opened(*files)
    names = COMPLETENESS_HOURLY.schema.names
    found = [dict(zip(names, (DAY + hour * HOUR, *rest), strict=True)) for hour, *rest in before]
    return completeness(
        runs=stamp_runs(events),
        prior=prior_stamps(events),
        owned=lambda boot: owned_runs(events, boot),
        boots=boots,
        before=pa.Table.from_pylist(found, schema=COMPLETENESS_HOURLY.schema),
        always=frozenset(DAY + hour * HOUR for hour in always),
    )


def plain(found: Rewritten) -> list[tuple[Any, ...]]:
    """Hour, boot, first_seq, last_seq, expected, received, missing, duplicates."""
    rows = [list(row.values()) for row in found.table.to_pylist()]
    return sorted(((int(hour.timestamp() * 1000) - DAY) // HOUR, *rest) for hour, _, *rest in rows)


def test_a_stamp_seen_in_two_hours_belongs_to_the_first_by_place() -> None:
    early, late = stamped(1, 0), stamped(1, HOUR, copy=1)
    both = {"boots": frozenset({B}), "always": (0, 1)}
    assert plain(count(table(early, late), **both)) == [
        (0, "b", 1, 1, 1, 1, 0, 0),
        (1, "b", 1, 1, 0, 0, 0, 1),
    ]
    assert plain(count(table(early, topic="z"), table(late, topic="y"), **both)) == [
        (0, "b", 1, 1, 0, 0, 0, 1),
        (1, "b", 1, 1, 1, 1, 0, 0),
    ]


def test_a_boot_does_not_speak_of_itself() -> None:
    events = table(stamped(1, 0, prev_boot="b", prev_seq=9))
    assert plain(count(events, boots=frozenset({B}), always=(0,))) == [(0, "b", 1, 1, 1, 1, 0, 0)]


def test_an_hour_is_written_again_if_a_row_changed_or_it_has_new_events() -> None:
    """A new event of hour 2 fills the hole that hour 0 had; hour 1 is as it was, and stays where it is."""
    events = table(stamped(1, 0), stamped(2, 2 * HOUR), stamped(3, HOUR))
    before = [(0, "h", "b", 1, 1, 2, 1, 1, 0), (1, "h", "b", 3, 3, 1, 1, 0, 0), (0, "h", "c", 1, 9, 9, 9, 0, 0)]
    found = count(events, boots=frozenset({B}), before=before, always=(2,))
    assert found.hours == {DAY, DAY + 2 * HOUR}
    assert plain(found) == [(0, "b", 1, 1, 1, 1, 0, 0), (0, "c", 1, 9, 9, 9, 0, 0), (2, "b", 2, 2, 1, 1, 0, 0)]


def test_an_hour_whose_row_is_gone_is_written_again_without_it() -> None:
    before = [(0, "h", "b", 1, 1, 1, 1, 0, 0), (1, "h", "b", 2, 2, 1, 1, 0, 0), (1, "h", "c", 1, 1, 1, 1, 0, 0)]
    found = count(table(stamped(1, 0)), boots=frozenset({B}), before=before)
    assert found.hours == {DAY + HOUR}
    assert plain(found) == [(1, "c", 1, 1, 1, 1, 0, 0)]
