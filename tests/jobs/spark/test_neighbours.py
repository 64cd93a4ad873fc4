"""Hours that the recount reads for completeness: few, and enough that a row comes out as from all hours."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.spark.completeness import Run, Seen, count_boot
from jobs.spark.neighbours import hours_beside
from quotaloop.marts import candidate as candidates
from quotaloop.parsed.unit import Note
from quotaloop.raw.ranges import Range
from tests.loop.stores import DAY, HOUR, Event, Loop, assert_same_release, event

BOOT = ("h", "b")
NONE: frozenset[int] = frozenset()


def note(spans: dict[int, tuple[int, int]], *said: int) -> dict[Range, Note]:
    """A boot with the least and greatest stamps of its hours; in the hours ``said`` the next boot speaks of it."""
    stamps = [(*BOOT, hour, *span) for hour, span in spans.items()]
    return {Range("t", 0, 0, 1): Note(stamps=stamps, prior=[("h", "c", hour, "b", 99) for hour in said])}


def test_of_a_long_boot_the_hours_up_to_the_nearest_stamps_are_read() -> None:
    spans = {hour: (hour * 10, hour * 10 + 9) for hour in range(1, 300)}
    assert hours_beside(note(spans), {150}, NONE, NONE) == {149, 150, 151}
    assert hours_beside(note(spans, 400, 401), {299}, NONE, NONE) == {298, 299, 400, 401}
    assert hours_beside(note(spans), {1, 299}, NONE, NONE) == {1, 2, 298, 299}
    assert hours_beside(note(spans), {500}, NONE, NONE) == NONE


def test_hours_whose_stamps_overlap_are_read_and_may_be_all_that_is_needed() -> None:
    spans = {1: (1, 10), 2: (9, 22), 3: (20, 30), 4: (31, 40), 9: (1, 40)}
    assert hours_beside(note(spans), {2}, NONE, NONE) == {1, 2, 3, 9}


def test_an_hour_with_a_conflict_is_read_and_the_next_one_too() -> None:
    spans = {hour: (hour * 10, hour * 10 + 9) for hour in range(1, 10)}
    assert hours_beside(note(spans), {5}, NONE, {6, 7, 4}) == {3, 4, 5, 6, 7, 8}


def test_frozen_hours_have_no_say() -> None:
    spans = {hour: (hour * 10, hour * 10 + 9) for hour in range(1, 10)}
    assert hours_beside(note(spans, 6, 20), {5}, {6}, NONE) == {4, 5, 7, 20}


@pytest.fixture
def loop(engines: None, tmp_path: Path) -> Loop:  # noqa: ARG001 - runs find them
    return Loop(tmp_path / "store")


Stamp = tuple[int, int, bool]  # hour, seq, quarantined as a conflict
STAMPS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30), st.sampled_from([False] * 5 + [True])), min_size=1)
SAID = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 40)), max_size=3)


@settings(max_examples=500, deadline=None)
@given(stamps=STAMPS, said=SAID, emit=st.sets(st.integers(0, 9), min_size=1, max_size=3))
def test_rows_from_the_hours_read_are_those_from_all_hours(
    stamps: list[Stamp], said: list[tuple[int, int]], emit: set[int]
) -> None:
    spans: dict[int, tuple[int, int]] = {}
    for hour, seq, _ in stamps:
        least, greatest = spans.get(hour, (seq, seq))
        spans[hour] = (min(least, seq), max(greatest, seq))
    notes = note(spans, *(hour for hour, _ in said))
    read = hours_beside(notes, emit, NONE, {hour for hour, _, conflict in stamps if conflict}) | emit
    whole, part = _rows(stamps, said, set(range(20))), _rows(stamps, said, read)
    assert {hour: whole.get(hour) for hour in emit} == {hour: part.get(hour) for hour in emit}


def _rows(stamps: list[Stamp], said: list[tuple[int, int]], read: set[int]) -> dict[int, tuple[int, ...]]:
    """Completeness of the boot by what the hours ``read`` hold; stamps come in the order of coordinates."""
    owner: dict[int, int] = {}
    seen: dict[int, list[int]] = defaultdict(list)
    for hour, seq, conflict in stamps:
        if hour in read and not conflict:
            owner.setdefault(seq, hour)
            seen[hour].append(seq)
    hours = {hour: Seen(min(found), max(found), len(found)) for hour, found in seen.items()}
    last = max((seq for hour, seq in said if hour in read), default=0)
    return dict(count_boot([Run(seq, seq, hour) for seq, hour in owner.items()], hours, last))


def test_hours_of_a_long_boot_are_counted_twice_from_a_few_and_end_in_the_tables_of_one_run(
    loop: Loop, tmp_path: Path
) -> None:
    """Two hours overlap, a stamp is given twice, some lack, and behind hour 23 lies an event in conflict."""
    lines = {hour: [_stamped(hour, 10 * hour + place) for place in range(1, 9)] for hour in range(30)}
    lines[12].append(_stamped(12, 135))  # hour 13 has it too
    lines[20].append(_stamped(20, 199))
    lines[24] = [_stamped(24, 249, output_tokens=1), _stamped(24, 241) | {"event_id": "e24-249"}]
    pieces = [[*range(10), *range(20, 23), *range(24, 30)], [15], [*range(10, 15), *range(16, 20)], [23]]
    read = []
    for hours in pieces:
        loop.land("t", *(line for hour in hours for line in lines[hour]))
        assert loop.run().released
        read.append(_hours_read(loop))
    assert read[1] == {8, 9, 15, 20}  # the hole after hour 9 has become smaller
    assert read[3] == {21, 22, 23, 24, 25}
    whole = Loop(tmp_path / "whole")
    for hours in pieces:
        whole.land("t", *(line for hour in hours for line in lines[hour]))
    assert whole.run().released
    assert_same_release(loop, whole)


def _stamped(hour: int, seq: int, **fields: object) -> Event:
    return event(f"e{hour}-{seq}", hour * HOUR, host="h", boot="b", seq=seq, **fields)


def _hours_read(loop: Loop) -> set[int]:
    """Hours from ``DAY`` on that the newest release's recount read."""
    ledger = loop.release().ledger
    assert ledger is not None
    made = candidates.load(loop.store, ledger.path.split("/")[2])
    assert made is not None
    return {(hour - DAY) // HOUR for hour in made.read}
