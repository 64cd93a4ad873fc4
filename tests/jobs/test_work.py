"""What a run takes for its inputs, also while others land beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs import work as module
from jobs.work import Work
from quotaloop.raw import closing, topics
from quotaloop.raw.ranges import Range
from quotaloop.settings import Settings
from quotaloop.storage.local import LocalStore

HOUR = 3_600_000
FIRST, SECOND, THIRD = (Range("t", 0, start, start + 10) for start in (0, 10, 20))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path)
    topics.declare(store, "t", {"source": "kafka"})
    store.write_if_absent(FIRST.path, b"")
    return store


def claim(store: LocalStore, item: Range) -> None:
    store.write_if_absent(item.claim_path, b'{"end": %d, "source": "kafka"}' % item.end)


def beside(monkeypatch: pytest.MonkeyPatch, name: str, act: Any) -> None:
    """Somebody acts right after this one look of the run at the store."""
    look = getattr(module, name)

    def looked(*words: Any) -> Any:
        found = look(*words)
        act()
        return found

    monkeypatch.setattr(module, name, looked)


def test_no_hour_is_closed_by_records_that_are_newer_than_the_listing(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def land_and_close() -> None:
        store.write_if_absent(SECOND.path, b"")
        closing.close(store, "t", closing.Closing(5 * HOUR, 6 * HOUR, 5 * HOUR, {0: SECOND.end}))

    beside(monkeypatch, "landed", land_and_close)
    work = Work(Settings(store=store.url))
    assert work.is_pending
    assert (work.ranges, work.is_closed(0)) == ([FIRST], False)
    later = Work(Settings(store=store.url))
    assert (later.ranges, later.is_closed(0)) == ([FIRST, SECOND], True)


def test_what_another_landing_is_at_is_left_out_and_no_gap(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def claim_two_and_land_the_second() -> None:
        claim(store, SECOND)
        claim(store, THIRD)
        store.write_if_absent(THIRD.path, b"")

    beside(monkeypatch, "landed", claim_two_and_land_the_second)
    assert Work(Settings(store=store.url)).ranges == [FIRST]
    work = Work(Settings(store=store.url))
    assert (work.ranges, work.unfinished) == ([FIRST], {"t: kafka": frozenset({SECOND})})


def test_ranges_that_land_between_two_looks_are_no_gap(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    claim(store, SECOND)
    claim(store, THIRD)
    store.write_if_absent(THIRD.path, b"")
    beside(monkeypatch, "landed", lambda: store.write_if_absent(SECOND.path, b""))
    assert Work(Settings(store=store.url)).ranges == [FIRST]
    assert Work(Settings(store=store.url)).ranges == [FIRST, SECOND, THIRD]


def test_a_topic_that_comes_after_the_look_at_closed_hours_is_left_to_the_next_run(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing.end(store, "t", {0: FIRST.end}, 1)
    look = closing.closed_before
    other = Range("u", 0, 0, 10)

    def come_and_look(of: LocalStore) -> int | None:
        found = look(of)
        topics.declare(store, "u", {"source": "kafka"})
        store.write_if_absent(other.path, b"")
        return found

    monkeypatch.setattr(closing, "closed_before", come_and_look)
    work = Work(Settings(store=store.url))
    assert (work.ranges, work.closed_before) == ([FIRST], None)
    monkeypatch.setattr(closing, "closed_before", look)
    work = Work(Settings(store=store.url))
    assert (work.ranges, work.closed_before) == ([FIRST, other], 0)
