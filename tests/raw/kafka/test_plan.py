"""Which offsets are landed now, and up to when everything has landed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotaloop.raw.kafka.broker import Offsets
from quotaloop.raw.kafka.plan import Sizes, State, cuts, places, watermark
from quotaloop.raw.kafka.sample import Sample

NOW = 1_772_409_600_000
QUARTER = 15 * 60_000


def state(start: int, low: int, stable: int, high: int, *, size: float = 100.0, oldest: int = NOW) -> State:
    sample = Sample(size, oldest) if max(start, low) < high else None
    return State(0, start, Offsets(low, stable, high), sample)


@pytest.mark.parametrize(
    ("partition", "ends"),
    [
        (state(0, 0, 0, 0), []),
        (state(7, 0, 7, 7), []),
        (state(0, 0, 10, 10), [10]),  # 1,000 bytes: a range of its own
        (state(0, 0, 25, 25), [12, 25]),  # 2.5 ranges: two, so that no crumb is left
        (state(5, 0, 35, 35), [15, 25, 35]),
        (state(0, 20, 40, 40), [30, 40]),  # offsets before 20 are gone, and not in any of these
        (state(0, 0, 10, 30), [10]),  # what is not committed waits
        (state(0, 0, 3, 3, size=5000.0), [1, 2, 3]),  # a range has an offset at least
        (state(0, 0, 9, 9), []),  # less than a range, and young
        (state(0, 0, 9, 9, oldest=NOW - QUARTER), [9]),
        (state(0, 0, 9, 9, oldest=NOW - QUARTER + 1), []),
        (state(0, 0, 9, 9, oldest=-1), [9]),  # records without a time are not waited for
        (state(0, 0, 9, 9, oldest=NOW + 1), [9]),  # nor those whose time is still to come
        (state(0, 0, 2_500_000, 2_500_000, size=0.0), [833_333, 1_666_666, 2_500_000]),  # whatever a sample says
    ],
)
def test_ranges_are_cut_to_their_size_and_the_rest_waits_until_it_is_old(partition: State, ends: list[int]) -> None:
    assert cuts(partition, Sizes(range_bytes=1_000, after_ms=QUARTER), NOW) == ends


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000), st.floats(0, 10_000), st.integers(1, 10_000))
def test_ranges_follow_one_another_from_what_is_kept_to_what_is_committed(
    start: int, low: int, more: int, size: float, range_bytes: int
) -> None:
    first = max(start, low)
    found = cuts(state(start, low, first + more, first + more, size=size), Sizes(range_bytes, 0), NOW)
    assert found == sorted(set(found))
    assert all(end > first for end in found)
    assert (found[-1:] == [first + more]) == (more > 0)


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.floats(0, 100))
def test_no_range_has_more_than_a_million_offsets(start: int, more: int, size: float) -> None:
    found = cuts(state(start, start, start + more, start + more, size=size), Sizes(10**9, QUARTER), NOW - QUARTER)
    assert all(end - begin <= 1_000_000 for begin, end in pairwise([start, *found]))


def test_a_partition_is_looked_at_where_it_begins_and_at_some_places_if_it_is_long() -> None:
    assert places(7, 8) == [7]
    assert places(7, 1_006) == [7]
    assert places(7, 2_007) == [7, 673, 1_340]
    assert places(1_000, 9_000) == [1_000, 3_000, 5_000, 7_000]


def test_everything_has_landed_up_to_the_look_where_no_partition_lags() -> None:
    partitions = [State(0, 5, Offsets(0, 5, 5), None), State(1, 0, Offsets(0, 3, 3), Sample(1.0, NOW - 90_000))]
    assert watermark(partitions, {0: 5, 1: 3}, NOW) == NOW


def test_a_partition_that_lags_holds_the_watermark_at_the_oldest_of_its_next_records() -> None:
    partitions = [State(0, 5, Offsets(0, 5, 5), None), State(1, 0, Offsets(0, 3, 3), Sample(1.0, NOW - 90_000))]
    assert watermark(partitions, {0: 5, 1: 2}, NOW) == NOW - 90_000
    assert watermark(partitions, {0: 5}, NOW) == NOW - 90_000


def test_an_open_transaction_holds_the_watermark() -> None:
    assert watermark([State(0, 4, Offsets(0, 4, 6), Sample(1.0, NOW - 5))], {0: 4}, NOW) == NOW - 5


def test_records_whose_time_is_still_to_come_give_no_watermark_until_they_have_landed() -> None:
    partitions = [State(0, 4, Offsets(0, 6, 6), Sample(1.0, NOW + 1))]
    assert watermark(partitions, {0: 4}, NOW) is None
    assert watermark(partitions, {0: 4}, NOW + 1) == NOW + 1
    assert watermark(partitions, {0: 6}, NOW) == NOW


def test_records_without_a_time_give_no_watermark() -> None:
    assert watermark([State(0, 4, Offsets(0, 6, 6), Sample(1.0, -1))], {0: 4}, NOW) is None
