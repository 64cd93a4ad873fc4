"""Waivers: once for a check and a raw range that are there, with a reason, on the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.audit.waivers import CHECKS, Waiver, waive, waivers
from quotaloop.errors import UsageError
from quotaloop.raw.ranges import Range
from quotaloop.storage.local import LocalStore

RANGE = Range("t@2", 3, 5, 12)
PATH = "waivers/bad_share/t@2/00003/00000000000000000005-00000000000000000012.json"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path)
    for item in (RANGE, Range("t@2", 3, 12, 20), Range("a", 0, 0, 1)):
        store.write_if_absent(item.path, b"")
    return store


def test_a_waiver_is_recorded_as_it_was_given(store: LocalStore) -> None:
    assert waivers(store) == []
    assert waive(store, "bad_share", "t@2/3/5-12", "a test of the gateway") == PATH
    assert waivers(store) == [Waiver("bad_share", RANGE, "a test of the gateway", PATH)]
    data = store.read(PATH)
    assert json.loads(data) == {"check": "bad_share", "range": "t@2/3/5-12", "reason": "a test of the gateway"}
    assert data.endswith(b"}\n")


def test_a_credential_in_a_reason_is_not_stored(store: LocalStore) -> None:
    key = "sk-" + "a1B2" * 8
    path = waive(store, "bad_share", "t@2/3/5-12", f"leaked {key} once")
    assert key.encode() not in store.read(path)


def test_a_check_is_waived_once_for_a_range(store: LocalStore) -> None:
    waive(store, "bad_share", "t@2/3/5-12", "first")
    with pytest.raises(UsageError, match="bad_share is waived for t@2/3/5-12 already"):
        waive(store, "bad_share", "t@2/03/05-12", "the same range, spelled otherwise")
    assert [waiver.reason for waiver in waivers(store)] == ["first"]


def test_other_checks_and_ranges_have_waivers_of_their_own(store: LocalStore) -> None:
    for check in CHECKS:
        waive(store, check, "t@2/3/5-12", check)
    waive(store, "bad_share", "t@2/3/12-20", "next")
    waive(store, "bad_share", "a/0/0-1", "other")
    found = waivers(store)
    assert [(waiver.check, str(waiver.range)) for waiver in found] == [
        ("bad_share", "a/0/0-1"),
        ("bad_share", "t@2/3/5-12"),
        ("bad_share", "t@2/3/12-20"),
        ("double_entry", "t@2/3/5-12"),
        ("line_identity", "t@2/3/5-12"),
    ]
    assert [waiver.path for waiver in found] == sorted(waiver.path for waiver in found)


@pytest.mark.parametrize(
    ("check", "where", "reason", "said"),
    [
        ("tiling", "t@2/3/5-12", "x", "check 'tiling' cannot be waived"),
        ("expectations", "t@2/3/5-12", "x", "cannot be waived; these can: bad_share, line_identity, double_entry"),
        ("../x", "t@2/3/5-12", "x", "cannot be waived"),
        ("bad_share", "t@2/3/5-12", "", "needs a --reason"),
        ("bad_share", "t@2/3/5-12", " \n", "needs a --reason"),
        ("bad_share", "t@2/3/5-11", "x", "there is no raw range t@2/3/5-11"),
        ("bad_share", "t@2/3/12-5", "x", "there is no raw range"),
        ("bad_share", "t@2/2/5-12", "x", "there is no raw range"),
        ("bad_share", "t/3/5-12", "x", "there is no raw range"),
        ("bad_share", "t@2", "x", "'t@2' is not a raw range: write TOPIC/PARTITION/START-END"),
        ("bad_share", "raw/t@2/3/5-12", "x", "is not a raw range"),
        ("bad_share", "t@2/3/-5-12", "x", "is not a raw range"),
    ],
)
def test_what_cannot_be_waived_leaves_nothing_behind(
    store: LocalStore, check: str, where: str, reason: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        waive(store, check, where, reason)
    assert waivers(store) == []
