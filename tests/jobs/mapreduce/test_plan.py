"""How an hour is divided for reducers."""

from __future__ import annotations

from jobs.mapreduce.plan import ROWS_A_SHARD, plan


def test_shards_suit_the_busiest_hour() -> None:
    busiest = (0, 1, ROWS_A_SHARD, ROWS_A_SHARD + 1, 3 * ROWS_A_SHARD + 1, 10**9)
    shards = [plan([1], [0, 1], late_bound_ms=1, busiest=events).shards for events in busiest]
    assert shards == [1, 1, 1, 2, 4, 256]
