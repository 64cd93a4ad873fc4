"""Files into the raw zone: byte for byte, once, and whole after any interruption."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import zstandard

from quotaloop.errors import InputUnreadable, UsageError
from quotaloop.raw.landing import Import, land_file, unfinished
from quotaloop.raw.ranges import Range, check_tiling, claimed, landed
from quotaloop.raw.record import NO_TIME, Record, decode
from quotaloop.settings import Settings
from quotaloop.storage.local import LocalStore
from quotaloop.storage.store import Store

NOW = 1_772_359_200_000
POINTS = ("import:prepared", "import:claimed", "import:recorded", "import:range")
MANY = b"".join(b'{"line":%d,"pad":"%s"}\n' % (number, b"x" * 50) for number in range(20_000))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def land(store: Store, path: Path, *, topic: str = "t", file_format: str = "native", **more: int) -> Import:
    settings = Settings(range_bytes=more.pop("range_bytes", 1 << 28))
    return land_file(store, path, topic=topic, file_format=file_format, settings=settings, now_ms=NOW, **more)


def records(store: Store, item: Range) -> list[Record]:
    lines = gzip.decompress(store.read(item.path)).split(b"\n")
    assert lines.pop() == b""
    return [decode(line) for line in lines]


def everything(store: Store) -> list[tuple[int, bytes | None]]:
    """Offsets and values of all that was landed, which must tile."""
    check_tiling(landed(store))
    found = []
    for item in landed(store):
        part = records(store, item)
        assert [record.offset for record in part] == list(range(item.start, item.end))
        found += [(record.offset, record.value) for record in part]
    return found


def test_the_lines_of_a_file_are_landed_as_they_came(store: LocalStore, tmp_path: Path) -> None:
    result = land(store, put(tmp_path, "a.jsonl", b'{"a":1}\r\n\nx\xff\n\tb\rc\nno end'))
    assert result.ranges == (Range("t", 0, 0, 5),)
    assert (result.lines, result.skipped) == (5, False)
    assert records(store, result.ranges[0]) == [
        Record(0, NO_TIME, b'{"a":1}'),
        Record(1, NO_TIME, b""),
        Record(2, NO_TIME, b"x\xff"),
        Record(3, NO_TIME, b"\tb\rc"),
        Record(4, NO_TIME, b"no end"),
    ]
    flags = [line.split(b"\t")[2] for line in gzip.decompress(store.read(result.ranges[0].path)).splitlines()]
    assert flags == [b".", b".", b"b", b"b", b"."]


def test_a_compressed_file_is_landed_as_what_it_holds(store: LocalStore, tmp_path: Path) -> None:
    land(store, put(tmp_path, "a.gz", gzip.compress(b"a\nb\n")))
    land(store, put(tmp_path, "b.zst", zstandard.ZstdCompressor().compress(b"c\n")))
    assert everything(store) == [(0, b"a"), (1, b"b"), (2, b"c")]


def test_offsets_go_on_from_the_last_file_in_each_partition(store: LocalStore, tmp_path: Path) -> None:
    land(store, put(tmp_path, "a", b"1\n2\n"))
    land(store, put(tmp_path, "b", b"3\n"), partition=7)
    land(store, put(tmp_path, "c", b"4\n"))
    land(store, put(tmp_path, "d", b"5\n6\n"), partition=7)
    land(store, put(tmp_path, "e", b"7\n"), topic="u")
    assert [str(item) for item in landed(store)] == ["t/0/0-2", "t/0/2-3", "t/7/0-1", "t/7/1-3", "u/0/0-1"]


def test_the_same_bytes_are_landed_once_a_topic_whatever_the_file_is_called(store: LocalStore, tmp_path: Path) -> None:
    first = land(store, put(tmp_path, "a", b"1\n"))
    again = land(store, put(tmp_path, "b", b"1\n"), partition=3)
    assert again.skipped
    assert (again.ranges, again.lines, again.sha256) == (first.ranges, 1, first.sha256)
    assert not land(store, put(tmp_path, "b", b"1\n"), topic="other").skipped
    assert [str(item) for item in landed(store)] == ["other/0/0-1", "t/0/0-1"]


def test_an_empty_file_is_an_import_of_no_lines(store: LocalStore, tmp_path: Path) -> None:
    result = land(store, put(tmp_path, "a", b""))
    assert (result.ranges, result.lines, result.skipped) == ((), 0, False)
    assert land(store, put(tmp_path, "a", b"")).skipped
    land(store, put(tmp_path, "b", b"1\n"))
    assert everything(store) == [(0, b"1")]


def test_the_landing_time_is_the_kafka_time_of_every_line(store: LocalStore, tmp_path: Path) -> None:
    result = land(store, put(tmp_path, "a", b"1\n\xff\n"), landed_at_ms=NOW + 5)
    assert [record.kafka_time_ms for record in records(store, result.ranges[0])] == [NOW + 5, NOW + 5]


def test_another_format_is_refused_in_a_topic_that_has_one(store: LocalStore, tmp_path: Path) -> None:
    land(store, put(tmp_path, "a", b"1\n"))
    declaration = json.loads(store.read("raw/t/_topic.json"))
    assert (declaration["source"], declaration["format"]) == ("files", "native")
    with pytest.raises(UsageError, match="native"):
        land(store, put(tmp_path, "b.csv", b"x\n"), file_format="azure-llm")
    with pytest.raises(UsageError, match="native"):
        land(store, put(tmp_path, "the same bytes", b"1\n"), file_format="azure-llm")
    assert everything(store) == [(0, b"1")]
    assert json.loads(store.read("raw/t/_topic.json")) == declaration


def test_a_credential_in_a_file_name_is_not_stored(store: LocalStore, tmp_path: Path) -> None:
    key = "sk-" + "a1B2" * 8
    land(store, put(tmp_path, f"{key}.jsonl", b"1\n"))
    assert all(key.encode() not in store.read(info.path) for info in store.files(""))


@pytest.mark.parametrize(("topic", "file_format"), [("../x", "native"), ("", "native"), ("t", "csv"), ("t", "")])
def test_a_wrong_call_writes_nothing(store: LocalStore, tmp_path: Path, topic: str, file_format: str) -> None:
    with pytest.raises(UsageError):
        land(store, put(tmp_path, "a", b"1\n"), topic=topic, file_format=file_format)
    assert list(store.files("")) == []


def test_ranges_are_cut_by_size_and_tile(store: LocalStore, tmp_path: Path) -> None:
    land(store, put(tmp_path, "before", b"x\n" * 3))
    result = land(store, put(tmp_path, "a", MANY), range_bytes=500_000)
    assert len(result.ranges) >= 3
    assert (result.ranges[0].start, result.ranges[-1].end, result.lines) == (3, 20_003, 20_000)
    values = [value for _, value in everything(store)]
    assert b"\n".join(value or b"" for value in values[3:]) + b"\n" == MANY
    sizes = [len(gzip.decompress(store.read(item.path))) for item in result.ranges]
    assert min(sizes[:-1]) >= 500_000


def test_the_record_of_an_import_lists_its_ranges_and_each_range_has_a_claim(store: LocalStore, tmp_path: Path) -> None:
    result = land(store, put(tmp_path, "a.jsonl", MANY), range_bytes=500_000, landed_at_ms=NOW)
    record = json.loads(store.read(f"raw/t/_imports/{result.sha256}.json"))
    assert record["ranges"] == [[item.start, item.end] for item in result.ranges]
    assert (record["file"], record["lines"], record["kafka_time_ms"]) == ("a.jsonl", 20_000, NOW)
    for item in result.ranges:
        claim = json.loads(store.read(claimed(store, "t")[0, item.start]))
        said = {"end": item.end, "source": "a.jsonl", "sha256": result.sha256}
        assert claim == said | {"range_bytes": 500_000, "time_ms": NOW}
    assert not unfinished(store, landed(store))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.gz", gzip.compress(MANY)[:-20]),
        ("cut.zst", zstandard.ZstdCompressor().compress(MANY)[:-20]),
        ("late.gz", gzip.compress(MANY) + gzip.compress(MANY)[:-20]),
        ("wrong.gz", MANY),
        ("nested.gz", gzip.compress(gzip.compress(MANY))),
    ],
)
def test_nothing_of_a_damaged_file_becomes_visible(
    store: LocalStore, tmp_path: Path, name: str, content: bytes
) -> None:
    land(store, put(tmp_path, "good", b"1\n"))
    before = [info.path for info in store.files("")]
    with pytest.raises(InputUnreadable, match=name):
        land(store, put(tmp_path, name, content), range_bytes=100_000)
    assert [info.path for info in store.files("")] == before
    assert sum(len(files) for _, _, files in os.walk(store.root)) == len(before)
    land(store, put(tmp_path, "next", b"2\n"))
    assert everything(store) == [(0, b"1"), (1, b"2")]


def test_a_damaged_first_file_leaves_not_even_a_topic(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(InputUnreadable):
        land(store, put(tmp_path, "cut.gz", gzip.compress(MANY)[:-20]))
    assert list(store.files("")) == []


PROGRAM = """
    import sys
    from pathlib import Path
    from quotaloop.raw.landing import land_file
    from quotaloop.settings import Settings
    from quotaloop.storage.local import LocalStore
    land_file(LocalStore(Path(sys.argv[1])), Path(sys.argv[2]), topic="t", file_format="native",
              settings=Settings(range_bytes=500_000), landed_at_ms=7, now_ms=1)
"""


def killed_at(point: str, store: LocalStore, path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(store.root), str(path)],
        env=os.environ | {"QUOTALOOP_KILL_AT": point},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.parametrize("point", POINTS)
def test_an_import_that_was_killed_is_completed_by_the_same_file(store: LocalStore, tmp_path: Path, point: str) -> None:
    land(store, put(tmp_path, "before", b"x\n"))
    path = put(tmp_path, "many", MANY)
    killed_at(point, store, path)
    seen = landed(store)
    assert len(seen) == (2 if point == "import:range" else 1)
    assert bool(unfinished(store, landed(store))) == (point in ("import:claimed", "import:recorded", "import:range"))
    result = land(store, path, range_bytes=500_000, landed_at_ms=7)
    assert not result.skipped
    assert (result.ranges[0].start, result.ranges[-1].end, len(landed(store))) == (1, 20_001, len(result.ranges) + 1)
    assert set(seen) <= set(landed(store))
    assert b"\n".join(value or b"" for _, value in everything(store)[1:]) + b"\n" == MANY
    assert not unfinished(store, landed(store))
    assert land(store, path).skipped


@pytest.mark.parametrize("point", ["import:claimed", "import:recorded", "import:range"])
def test_the_ranges_of_an_import_that_was_begun_stay_as_claimed_whatever_is_asked_for_now(
    store: LocalStore, tmp_path: Path, point: str
) -> None:
    path = put(tmp_path, "many", MANY)
    killed_at(point, store, path)
    result = land(store, path, range_bytes=1 << 28, landed_at_ms=99, partition=5)
    assert {item.partition for item in result.ranges} == {0}
    assert len(result.ranges) >= 3
    times = {record.kafka_time_ms for item in result.ranges for record in records(store, item)}
    assert times == {99 if point == "import:claimed" else 7}
    assert len(everything(store)) == 20_000


@pytest.mark.parametrize("point", ["import:claimed", "import:recorded", "import:range"])
def test_while_an_import_is_not_complete_another_file_is_refused(store: LocalStore, tmp_path: Path, point: str) -> None:
    path = put(tmp_path, "many", MANY)
    killed_at(point, store, path)
    other = put(tmp_path, "other", b"1\n")
    before = [info.path for info in store.files("")]
    with pytest.raises(UsageError, match="many"):
        land(store, other)
    assert [info.path for info in store.files("")] == before
    land(store, other, partition=1)
    land(store, path, range_bytes=500_000)
    assert land(store, other).skipped
    land(store, put(tmp_path, "third", b"3\n"))
    assert len(everything(store)) == 20_002


def test_an_import_killed_before_its_claim_leaves_the_way_free(store: LocalStore, tmp_path: Path) -> None:
    killed_at("import:prepared", store, put(tmp_path, "many", MANY))
    land(store, put(tmp_path, "other", b"1\n"))
    assert everything(store) == [(0, b"1")]


def test_of_two_writers_at_the_same_offset_the_second_is_refused(store: LocalStore, tmp_path: Path) -> None:
    """The other one claims while this one is still preparing."""
    other = put(tmp_path, "other", b"1\n2\n")

    def meanwhile(_: int) -> None:
        if not landed(store):
            land(store, other)

    with pytest.raises(UsageError, match="claimed"):
        land_file(
            store,
            put(tmp_path, "a", b"3\n"),
            topic="t",
            file_format="native",
            settings=Settings(),
            now_ms=NOW,
            progress=meanwhile,
        )
    assert everything(store) == [(0, b"1"), (1, b"2")]
    land(store, tmp_path / "a")
    assert everything(store) == [(0, b"1"), (1, b"2"), (2, b"3")]
