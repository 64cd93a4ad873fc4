"""Releases: numbered by compare-and-set, named by ``CURRENT``, gone back to, and made of files that are checked."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from quotaloop.errors import InputUnreadable, QuotaloopError, UsageError
from quotaloop.marts import release as releases
from quotaloop.marts.integrity import check_files
from quotaloop.marts.release import (
    Day,
    FileEntry,
    Release,
    Span,
    Verdict,
    current,
    hour_ms,
    mend_pointer,
    newest,
    numbers,
    parse_day,
    publish,
    read_days,
    read_release,
    rfc3339,
    store_days,
)
from quotaloop.marts.rollback import is_pinned, resume, roll_back
from quotaloop.raw.ranges import Range
from quotaloop.storage.local import LocalStore
from tests.marts.handmade import DAY, HOUR, Handmade

ENTRY = FileEntry("marts/usage_hourly/date=2026-03-02/f00d/part-23-0.parquet", 3, 9, "a" * 64, (DAY + 23 * HOUR,))
DAILY = FileEntry("marts/usage_daily/date=2026-03-02/f00d/part-00-0.parquet", 1, 7, "b" * 64)


@pytest.fixture
def made(tmp_path: Path) -> Handmade:
    return Handmade(tmp_path / "store")


@pytest.fixture
def store(made: Handmade) -> LocalStore:
    return made.store


def named(store: LocalStore) -> bytes:
    return store.read("CURRENT")


def test_a_release_reads_back_as_it_was_published(made: Handmade, store: LocalStore) -> None:
    ledger = made.add_ledger({"topic": "t"})
    release = made.release(
        number=7,
        parent=6,
        checks=[Verdict("double_entry", False, "1 of \u00e9", waived=True), Verdict("tiling", True, "")],
        raw=[Span("t", 0, 5, 10, "c" * 64), Span("t@2", 3, 0, 4, "d" * 64)],
        days={"2026-03-02": "e" * 64},
        waivers=["waivers/double_entry/t/00000/x.json"],
        pinned=True,
        rolled_back_to=2,
    )
    assert publish(store, release)
    assert read_release(store, 7) == release
    assert read_release(store, 7).render() == release.render() == store.read("releases/0000000007.json")
    assert json.loads(release.render())["format"] == "quotaloop/release@1"
    assert release.ledger == ledger
    assert read_release(store, 7).path == "releases/0000000007.json"


def test_a_release_without_a_ledger_reads_back_too(made: Handmade, store: LocalStore) -> None:
    assert read_release(store, made.publish(ledger=None).number).ledger is None


def test_a_manifest_is_json_with_sorted_keys_and_a_newline(made: Handmade) -> None:
    data = made.release().render()
    document = json.loads(data)
    assert data == (json.dumps(document, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()


def test_a_day_reads_back_with_the_times_of_its_hours_spelled_out(store: LocalStore) -> None:
    day = Day(
        "2026-03-02",
        "f00d",
        tables={"usage_hourly": [ENTRY], "usage_daily": [DAILY]},
        counted={DAY: "twice", DAY + 23 * HOUR: "once"},
        outcomes={DAY: [["t", 0, 0, 2, 1, 0], ["u", 1, 5, 1, 0, 0]]},
        frozen=True,
    )
    digests = store_days(store, [day])
    assert digests == {"2026-03-02": hashlib.sha256(day.render()).hexdigest()}
    assert parse_day(json.loads(store.read(f"releases/days/{digests['2026-03-02']}.json"))) == day
    document = json.loads(day.render())
    assert document["counted"] == {"2026-03-02T00:00:00Z": "twice", "2026-03-02T23:00:00Z": "once"}
    assert document["tables"]["usage_hourly"][0]["hours"] == ["2026-03-02T23:00:00Z"]
    assert parse_day(document) == day


def test_a_day_has_one_name_in_whatever_order_it_was_made() -> None:
    other = FileEntry(ENTRY.path.replace("-23-", "-22-"), 1, 1, "c" * 64, (DAY + 22 * HOUR,))
    rows: list[list[Any]] = [["t", 0, 9, 1, 0, 0], ["t", 0, 0, 2, 0, 0]]
    first = Day("d", "f", {"a": [ENTRY, other], "b": []}, {DAY: "once", DAY + HOUR: "twice"}, {DAY: rows})
    second = Day("d", "f", {"b": [], "a": [other, ENTRY]}, {DAY + HOUR: "twice", DAY: "once"}, {DAY: rows[::-1]})
    assert first.render() == second.render()


def test_times_of_hours_are_utc() -> None:
    assert rfc3339(DAY) == "2026-03-02T00:00:00Z"
    assert hour_ms("2026-03-02T00:00:00Z") == DAY
    assert hour_ms("2026-03-02T05:30:00+05:30") == DAY


def test_the_first_to_take_a_number_keeps_it(made: Handmade, store: LocalStore) -> None:
    first, second = made.release(code="first"), made.release(code="second")
    assert publish(store, first)
    assert not publish(store, second)
    assert read_release(store, 1).code == "first"
    assert numbers(store) == [1]
    assert named(store) == b"0000000001"


def test_of_many_runs_at_once_exactly_one_gets_the_number(made: Handmade, store: LocalStore) -> None:
    start, won = threading.Barrier(8), []

    def run(release: Release) -> None:
        start.wait()
        if publish(store, release):
            won.append(release.code)

    threads = [threading.Thread(target=run, args=(made.release(code=str(number)),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [read_release(store, 1).code] == won


def test_current_follows_the_newest(made: Handmade, store: LocalStore) -> None:
    assert current(store) is newest(store) is None
    for number in (1, 2, 3):
        assert made.publish().number == number
        assert int(named(store)) == number
    found = current(store)
    assert found is not None
    assert (found.number, found.parent) == (3, 2)
    assert numbers(store) == [1, 2, 3]


def test_numbers_are_in_order_of_number_and_of_manifests_alone(made: Handmade, store: LocalStore) -> None:
    for number in (10, 9, 2):
        publish(store, made.release(number=number))
    for other in ("releases/days/0000000011.json", "releases/12.json", "releases/0000000013.json.bak"):
        store.write_if_absent(other, b"{}")
    assert numbers(store) == [2, 9, 10]
    assert named(store) == b"0000000010"  # not moved back by an older number


@pytest.mark.parametrize("there", [None, b"0000000001", b"1"], ids=["none", "the one before", "short"])
def test_current_is_mended_after_a_run_that_was_cut_off(made: Handmade, store: LocalStore, there: bytes | None) -> None:
    made.publish()
    store.write_if_absent("releases/0000000002.json", made.release().render())
    if there is None:
        store.delete("CURRENT")
    else:
        store.replace("CURRENT", there)
    mend_pointer(store)
    assert named(store) == b"0000000002"


def test_an_empty_store_is_left_without_current(store: LocalStore) -> None:
    mend_pointer(store)
    assert not store.exists("CURRENT")


@pytest.mark.parametrize("there", [b"", b"\0\0\0\0", b"two", b"9999999999"])
def test_a_damaged_current_is_mended(made: Handmade, store: LocalStore, there: bytes) -> None:
    made.publish()
    store.replace("CURRENT", there)
    mend_pointer(store)
    assert named(store) == b"0000000001"


def test_a_day_that_did_not_change_is_kept_once(made: Handmade, store: LocalStore) -> None:
    made.day(DAY).counted[DAY] = "once"
    first = made.publish()
    made.day(DAY + 24 * HOUR).counted[DAY + 24 * HOUR] = "once"
    second = made.publish()
    assert first.days == {"2026-03-02": second.days["2026-03-02"]}
    assert [info.path for info in store.files("releases/days")] == sorted(
        f"releases/days/{digest}.json" for digest in second.days.values()
    )
    assert list(read_days(store, second)) == ["2026-03-02", "2026-03-03"]
    assert read_days(store, first)["2026-03-02"].counted == {DAY: "once"}
    assert read_days(store, None) == {}


def test_a_release_has_the_ranges_inside_its_spans(made: Handmade) -> None:
    release = made.release(raw=[Span("t", 0, 5, 10, ""), Span("u", 1, 0, 3, "")])
    inside = [Range("t", 0, 5, 10), Range("t", 0, 5, 7), Range("t", 0, 9, 10), Range("u", 1, 0, 3)]
    outside = [Range("t", 0, 10, 12), Range("t", 0, 4, 10), Range("t", 0, 9, 11), Range("t", 1, 5, 7)]
    assert [item for item in inside if not release.has(item)] == []
    assert [item for item in [*outside, Range("u", 0, 0, 3)] if release.has(item)] == []


def test_going_back_appends_the_content_pinned(made: Handmade, store: LocalStore) -> None:
    made.day(DAY).counted[DAY] = "twice"
    first = made.publish(code="first")
    made.day(DAY).counted[DAY] = "once"
    second = made.publish(code="second")
    back = roll_back(store, 1)
    assert (back.number, back.parent, back.pinned, back.rolled_back_to) == (3, 2, True, 1)
    assert (back.code, back.days, back.raw) == (first.code, first.days, first.raw)
    assert current(store) == newest(store) == back
    assert read_release(store, 2) == second
    assert read_days(store, back)["2026-03-02"].counted == {DAY: "twice"}


def test_a_rollback_pins_until_it_is_resumed(made: Handmade, store: LocalStore) -> None:
    made.publish()
    assert not is_pinned(store, newest(store))
    assert resume(store) is None
    roll_back(store, 1)
    assert is_pinned(store, newest(store))
    assert resume(store) == 2
    assert not is_pinned(store, newest(store))
    assert resume(store) is None
    again = roll_back(store, 2)  # of a rollback: its content once more, pinned anew
    assert (again.number, again.rolled_back_to, is_pinned(store, again)) == (3, 2, True)
    assert not is_pinned(store, None)
    assert numbers(store) == [1, 2, 3]


def test_a_rollback_takes_the_next_number_if_another_run_was_first(
    made: Handmade, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.publish()
    publish_first = releases.publish

    def meanwhile(store: LocalStore, release: Release) -> bool:
        if release.number == 2:
            publish_first(store, made.release(code="meanwhile"))
        return publish_first(store, release)

    monkeypatch.setattr("quotaloop.marts.rollback.publish", meanwhile)
    back = roll_back(store, 1)
    assert (back.number, back.parent, back.code) == (3, 2, "0.1.0+abc")
    assert read_release(store, 2).code == "meanwhile"
    monkeypatch.setattr("quotaloop.marts.rollback.publish", lambda *_: False)
    with pytest.raises(QuotaloopError, match="try again"):
        roll_back(store, 1)


def test_a_release_that_is_not_there_is_a_wrong_call(made: Handmade, store: LocalStore) -> None:
    made.publish()
    for call in (read_release, roll_back):
        with pytest.raises(UsageError, match="there is no release 9; see `quotaloop release list`"):
            call(store, 9)
    assert numbers(store) == [1]


def test_a_published_file_is_sound_or_unreadable(made: Handmade, store: LocalStore) -> None:
    entry = made.add("usage_hourly", {"tenant": "a"}, hours=[DAY])
    check_files(store, [entry])
    sound = store.read(entry.path)
    flipped = bytes([*sound[:9], sound[9] ^ 1, *sound[10:]])
    for damaged in (sound[:-1], b"", sound + b"\0", flipped):
        store.replace(entry.path, damaged)
        with pytest.raises(InputUnreadable, match="checksum mismatch") as caught:
            check_files(store, [entry])
        assert (entry.path in str(caught.value), caught.value.exit_code) == (True, 4)
    store.delete(entry.path)
    with pytest.raises(InputUnreadable, match=f"{entry.path} is gone") as caught:
        check_files(store, [entry])
    assert caught.value.exit_code == 4
