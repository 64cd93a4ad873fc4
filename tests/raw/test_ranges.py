"""Raw ranges by their names, and whether they tile."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.raw.ranges import Range, check_tiling, check_topic, claimed, digest, landed, parse_range
from quotaloop.storage.local import LocalStore


def test_the_names_are_those_of_the_contract() -> None:
    item = Range("api-logs", 3, 40, 1234)
    assert item.path == "raw/api-logs/p=00003/00000000000000000040-00000000000000001234.jsonl.gz"
    assert item.claim_path == "raw/api-logs/p=00003/00000000000000000040.claim"
    assert str(item) == "api-logs/3/40-1234"
    assert parse_range(str(item)) == item


def test_ranges_and_claims_are_read_from_the_listing_and_nothing_else_is_taken_for_one(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    wanted = [Range("a", 0, 0, 10), Range("a", 0, 10, 9_000), Range("a", 1, 5, 6), Range("b@2", 0, 0, 1)]
    for item in reversed(wanted):
        store.write_if_absent(item.path, b"")
    store.write_if_absent(Range("a", 1, 5, 6).claim_path, b"{}")
    for other in ("raw/a/_topic.json", "raw/a/p=00000/x.jsonl.gz", f"{wanted[0].path}.tmp", "raw/a/p=0/0-1.jsonl.gz"):
        store.write_if_absent(other, b"{}")
    assert landed(store) == wanted
    assert claimed(store, "a") == {(1, 5): Range("a", 1, 5, 6).claim_path}
    assert claimed(store, "b") == {}


def test_ranges_that_touch_tile_and_partitions_do_not_mix() -> None:
    check_tiling([])
    check_tiling([Range("t", 0, 10, 20), Range("t", 0, 5, 10), Range("t", 1, 0, 3), Range("u", 0, 7, 8)])


@pytest.mark.parametrize(
    ("second", "said"), [((11, 20), "a gap"), ((9, 20), "an overlap"), ((0, 10), "an overlap"), ((0, 5), "an overlap")]
)
def test_a_gap_or_an_overlap_is_refused_with_both_ranges_named(second: tuple[int, int], said: str) -> None:
    with pytest.raises(CheckRefused, match=said) as error:
        check_tiling([Range("t", 0, 0, 10), Range("t", 0, *second)])
    assert "t/0/0-10" in str(error.value)
    assert error.value.exit_code == 3


def test_the_digest_of_a_listing_is_that_of_its_lines_in_order() -> None:
    text = "00000000000000000000-00000000000000000002\n00000000000000000002-00000000000000000003\n"
    assert digest([Range("t", 0, 2, 3), Range("t", 0, 0, 2)]) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("topic", ["a", "api.logs-1_x", "7", "a@2", "A" * 201])
def test_names_of_topics(topic: str) -> None:
    assert check_topic(topic) == topic


@pytest.mark.parametrize("topic", ["", ".", "..", "_a", "a/b", "a b", "a@", "a@x", "\u00e9", "A" * 202, "a\n", "-a"])
def test_names_that_no_topic_may_have(topic: str) -> None:
    with pytest.raises(UsageError, match="topic"):
        check_topic(topic)


@pytest.mark.parametrize("text", ["", "t", "t/0", "t/0/5", "t/0/5-", "t/x/1-2", "t/0/1-2/3", "/0/1-2"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a raw range"):
        parse_range(text)
