"""Status: what is landed, what of it is pending, what is released and in force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.publication import publish
from jobs.status import status
from jobs.work import Work
from quotaloop.errors import CheckRefused
from quotaloop.marts.release import Span
from quotaloop.marts.rollback import resume, roll_back
from quotaloop.parsed.unit import Note, Unit
from quotaloop.quotas.policy import store_policy
from quotaloop.raw.ranges import Range
from quotaloop.settings import Settings
from quotaloop.version import fingerprint
from tests.marts.handmade import DAY, Handmade, limit, policy

LIMIT = limit("a", "requests", 5)


@pytest.fixture
def made(tmp_path: Path) -> Handmade:
    return Handmade(tmp_path / "store")


def settings(made: Handmade) -> Settings:
    return Settings(store=made.store.url)


def look(made: Handmade) -> dict[str, Any]:
    return status(Work(settings(made)))


def land(made: Handmade, *items: Range) -> None:
    for item in items:
        assert made.store.write_if_absent(item.path, b"")


def parse(made: Handmade, item: Range, print_of: str) -> None:
    assert made.store.write_if_absent(Unit(item, print_of).note_path, Note().render())


def test_lines_and_ranges_are_counted_by_topic(made: Handmade) -> None:
    land(made, Range("b", 0, 0, 5), Range("b", 0, 5, 6), Range("b", 7, 100, 110), Range("a", 0, 0, 1))
    found = look(made)
    assert found["landed"] == {"ranges": 4, "lines": 17}
    assert found["topics"] == [
        {"topic": "a", "ranges": 1, "lines": 1, "pending": 1},
        {"topic": "b", "ranges": 3, "lines": 16, "pending": 3},
    ]
    assert (found["release"], found["policy"], found["pinned"]) == (None, None, False)
    assert found["store"] == made.store.url


def test_what_the_newest_release_does_not_have_is_pending(made: Handmade) -> None:
    land(made, Range("t", 0, 0, 5), Range("t", 0, 5, 6), Range("t", 1, 0, 9))
    made.publish(raw=[Span("t", 0, 0, 6, "0"), Span("t", 1, 0, 9, "0")])
    assert look(made)["pending"]["ranges"] == 0
    made.publish(raw=[Span("t", 0, 0, 5, "0")])
    found = look(made)
    assert (found["release"], found["pending"]["ranges"], found["topics"][0]["pending"]) == (2, 2, 2)


def test_what_has_no_unit_of_this_code_and_settings_is_unparsed(made: Handmade) -> None:
    items = [Range("t", 0, 0, 5), Range("t", 0, 5, 6), Range("t", 0, 6, 9)]
    land(made, *items)
    parse(made, items[0], fingerprint(settings(made)))
    parse(made, items[1], "0ld")
    assert look(made)["pending"]["unparsed"] == 2
    other = Settings(store=made.store.url, late_bound=1)
    assert status(Work(other))["pending"]["unparsed"] == 3
    indifferent = Settings(store=made.store.url, max_bad_share=0.5)  # makes no other rows
    assert status(Work(indifferent))["pending"]["unparsed"] == 2


def test_a_derivation_is_pending_until_there_is_a_policy_of_the_release(made: Handmade) -> None:
    assert look(made)["pending"]["derivation"] is False
    made.publish()
    assert look(made)["pending"]["derivation"] is True
    store_policy(made.store, policy(1, LIMIT, release=1))
    assert look(made)["pending"]["derivation"] is False
    made.counted(DAY)
    made.publish()
    assert look(made)["pending"]["derivation"] is True


def test_a_policy_that_is_not_the_published_one_is_pending(made: Handmade) -> None:
    assert look(made)["pending"]["publication"] is False
    first, second = (policy(epoch, LIMIT, release=1) for epoch in (1, 2))
    store_policy(made.store, first)
    assert look(made)["pending"]["publication"] is True
    publish(Work(Settings(store=made.store.url)))
    assert look(made)["pending"]["publication"] is False
    store_policy(made.store, second)
    assert look(made)["pending"]["publication"] is True


def test_the_newest_policy_is_shown_with_its_times(made: Handmade) -> None:
    for epoch in (9, 10):
        store_policy(made.store, policy(epoch, LIMIT, valid=(epoch, epoch + 1), release=epoch))
    assert look(made)["policy"] == {
        "epoch": 10,
        "release": 10,
        "valid_from": "2026-03-02T10:00:00Z",
        "expires_at": "2026-03-02T11:00:00Z",
    }


def test_a_rollback_pins_until_it_is_resumed(made: Handmade) -> None:
    made.publish()
    roll_back(made.store, 1)
    found = look(made)
    assert (found["release"], found["pinned"]) == (2, True)
    resume(made.store)
    assert look(made)["pinned"] is False


def test_an_import_that_was_cut_off_is_named_and_its_ranges_are_not_counted(made: Handmade) -> None:
    land(made, Range("t", 0, 0, 5), Range("t", 0, 5, 8))
    record = b'{"file": "b.jsonl", "partition": 0, "ranges": [[5, 8], [8, 9]]}'
    made.store.write_if_absent("raw/t/_imports/0.json", record)
    found = look(made)
    assert found["unfinished"] == ["t: b.jsonl"]
    assert found["landed"] == {"ranges": 1, "lines": 5}
    land(made, Range("t", 0, 8, 9))
    found = look(made)
    assert (found["unfinished"], found["landed"]) == ([], {"ranges": 3, "lines": 9})


def test_raw_that_does_not_tile_is_refused(made: Handmade) -> None:
    land(made, Range("t", 0, 0, 5), Range("t", 0, 4, 6))
    with pytest.raises(CheckRefused, match="an overlap between t/0/0-5 and t/0/4-6"):
        look(made)


def test_looking_mends_current(made: Handmade) -> None:
    made.publish()
    made.publish()
    made.store.replace("CURRENT", b"0000000001")
    assert look(made)["release"] == 2
    assert made.store.read("CURRENT") == b"0000000002"
