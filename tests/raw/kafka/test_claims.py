"""Claims form chains, so that no two writers overlap, whatever they planned."""

from __future__ import annotations

import json
import threading

from quotaloop.raw.kafka.claims import chain, claim
from quotaloop.raw.ranges import Range, check_tiling
from quotaloop.storage.local import LocalStore


def ranges(*ends: int, start: int = 0, partition: int = 0) -> list[Range]:
    starts = [start, *ends[:-1]]
    return [Range("t", partition, first, last) for first, last in zip(starts, ends, strict=False)]


def source(store: LocalStore, start: int) -> str:
    found: str = json.loads(store.read(Range("t", 0, start, start).claim_path))["source"]
    return found


def take(store: LocalStore, *ends: int, start: int = 0) -> list[tuple[int, int]]:
    return [(item.start, item.end) for item in claim(store, ranges(*ends, start=start), "kafka", 1)]


def test_claims_are_made_as_wanted_where_nobody_was_before(store: LocalStore) -> None:
    assert take(store, 10, 20) == [(0, 10), (10, 20)]
    assert take(store) == []
    assert chain(store, "t").ends == {0: 20}


def test_the_same_claims_again_are_the_same(store: LocalStore) -> None:
    take(store, 10, 20)
    assert take(store, 10, 20) == [(0, 10), (10, 20)]


def test_who_comes_second_follows_the_first_and_goes_on_behind_them(store: LocalStore) -> None:
    take(store, 12, 15)
    assert take(store, 10, 20, 30) == [(0, 12), (12, 15), (15, 30)]
    assert take(store, 5) == [(0, 12)]


def test_a_writer_that_slept_does_not_claim_into_what_was_claimed_meanwhile(store: LocalStore) -> None:
    sleeper = claim(store, ranges(10, 20, 30), "kafka", 1)
    assert next(sleeper) == Range("t", 0, 0, 10)
    take(store, 10, 45)
    assert [(item.start, item.end) for item in sleeper] == [(10, 45)]


def test_the_last_claim_may_end_before_what_was_wanted_where_another_made_it(store: LocalStore) -> None:
    take(store, 10, 15)
    assert take(store, 10, 30) == [(0, 10), (10, 15)]
    assert chain(store, "t").ends == {0: 15}


def test_a_claim_of_nothing_but_lost_offsets_says_so(store: LocalStore) -> None:
    list(claim(store, ranges(10, 20, 30), "kafka", 1, lost_before=20))
    assert [source(store, start) for start in (0, 10, 20)] == ["lost", "lost", "kafka"]


def test_what_is_lost_goes_on_where_another_ended(store: LocalStore) -> None:
    take(store, 12)
    list(claim(store, ranges(10, 20, 30), "kafka", 1, lost_before=10))
    assert [source(store, start) for start in (0, 12, 20)] == ["kafka", "kafka", "kafka"]


def test_many_writers_at_once_claim_one_chain(store: LocalStore) -> None:
    start = threading.Barrier(6)

    def work(step: int) -> None:
        start.wait()
        list(claim(store, ranges(*range(step, 200, step)), "kafka", 1))

    threads = [threading.Thread(target=work, args=(step,)) for step in (3, 5, 7, 11, 13, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = chain(store, "t")
    check_tiling(found.owed)
    assert found.owed[0].start == 0
    assert found.ends[0] == found.owed[-1].end


def test_what_is_claimed_and_has_not_landed_is_owed_and_ends_what_has_landed(store: LocalStore) -> None:
    take(store, 10, 20, 30)
    list(claim(store, ranges(4, partition=3), "kafka", 1))
    for item in (*ranges(10), *ranges(30, start=20), *ranges(4, partition=3)):
        store.write_if_absent(item.path, b"")
    found = chain(store, "t")
    assert found.owed == ranges(20, start=10)
    assert found.ends == {0: 30, 3: 4}
    assert found.landed == {0: 10, 3: 4}


def test_a_topic_of_which_nothing_landed_has_no_chain(store: LocalStore) -> None:
    found = chain(store, "t")
    assert (found.ends, found.landed, found.owed) == ({}, {}, [])
