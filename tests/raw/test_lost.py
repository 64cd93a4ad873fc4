"""What was lost is read back as it was noted; of several notes of one start, the longest."""

from __future__ import annotations

import gzip
from pathlib import Path

from quotaloop.raw.lost import Lost, give_up, losses, note
from quotaloop.raw.ranges import Range, landed
from quotaloop.storage.local import LocalStore


def test_notes_come_back_by_partition_and_start(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    wanted = [Lost(Range("t", 0, 9, 12), "lost", 5, 4), Lost(Range("t", 2, 0, 3), "recreated", 6)]
    for one in (*reversed(wanted), Lost(Range("u", 0, 0, 1), "ended", 7)):
        note(store, one)
    assert losses(store, "t") == wanted
    assert losses(store, "none") == []


def test_the_longest_note_of_a_range_counts(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for end, found_at_ms in ((4, 1), (10, 3), (7, 2)):
        note(store, Lost(Range("t", 0, 0, end), "lost", found_at_ms))
    assert losses(store, "t") == [Lost(Range("t", 0, 0, 10), "lost", 3)]


def test_a_range_that_is_given_up_lands_without_lines_unless_it_has_landed(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    item, other = Range("t", 0, 0, 5), Range("t", 0, 5, 6)
    store.write_if_absent(other.path, b"landed")
    give_up(store, item, "ended", 7)
    give_up(store, other, "ended", 7)
    assert landed(store, "t") == [item, other]
    assert gzip.decompress(store.read(item.path)) == b""
    assert store.read(other.path) == b"landed"
