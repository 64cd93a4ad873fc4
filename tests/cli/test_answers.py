"""What commands answer: with ``--json`` one document, without it text, and nothing is changed by looking."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quotaloop import __version__
from quotaloop.quotas.policy import store_policy
from quotaloop.raw.ranges import landed
from quotaloop.version import code_version
from tests.cli.conftest import Call
from tests.marts.handmade import DAY, HOUR, Handmade, at, limit, policy

LOOKING = ("status", "release list", "quarantine list", "quarantine replay", "version", "quotas derive")


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A file of three lines."""
    path = tmp_path / "three lines.jsonl"
    path.write_bytes(b'{"event_id": "a"}\n\nlast')
    return path


@pytest.mark.parametrize("words", [*LOOKING, "run", "release"])
@pytest.mark.parametrize("place", [0, 1, -1], ids=["first", "second", "last"])
def test_json_may_stand_anywhere(words: str, place: int, call: Call) -> None:
    parts = words.split()
    parts.insert(place if place >= 0 else len(parts), "--json")
    said = call(*parts)
    assert (said.code, said.err) == (0, "")
    assert isinstance(said.json, dict)


def test_what_follows_two_dashes_is_no_flag(call: Call) -> None:
    assert call("land", "files", "--", "--json").error == "--json is not a file"


def test_debug_after_two_dashes_is_no_flag_either(call: Call) -> None:
    assert call("land", "files", "--", "--debug").error == "--debug is not a file"


@pytest.mark.parametrize("words", LOOKING)
def test_looking_at_an_empty_store_leaves_nothing_in_it(words: str, call: Call, made: Handmade) -> None:
    assert call(*words.split()).code == 0
    assert call("--json", *words.split()).code == 0
    assert not made.store.exists("")


def test_an_empty_store_says_that_it_is_empty(call: Call, made: Handmade) -> None:
    assert call("status", "--json").json == {
        "store": made.store.url,
        "landed": {"ranges": 0, "lines": 0},
        "pending": {"ranges": 0, "hours": 0, "unparsed": 0, "derivation": False, "publication": False},
        "release": None,
        "pinned": False,
        "policy": None,
        "closed_before": None,
        "unfinished": [],
        "topics": [],
    }
    assert call("release", "list", "--json").json == {"releases": []}
    assert call("quarantine", "list", "--json").json["rows"] == []
    assert call("quarantine", "replay", "--json").json == {"lines": 0, "changed": 0, "outcomes": []}
    assert call("release", "--json").json == {"release": None}
    assert call("release", "resume", "--json").json == {"resumed": None}
    assert "nothing has landed yet" in call("run").out
    assert "store" in call("status").out


def test_the_version_names_the_package_and_the_code(call: Call) -> None:
    document = call("version", "--json").json
    assert (document["version"], document["code"]) == (__version__, code_version())
    assert call("version").out.startswith(f"quotaloop {code_version()}, Python 3.")


def test_a_file_is_landed_once(call: Call, made: Handmade, lines: Path) -> None:
    first = call("land", "files", str(lines), "--topic", "t", "--partition", "3", "--json").json
    (row,) = first["files"]
    assert (first["topic"], first["derived"]) == ("t", [])
    assert (row["file"], row["lines"], row["skipped"], row["ranges"]) == (str(lines), 3, False, ["t/3/0-3"])
    before = [(info.path, made.store.read(info.path)) for info in made.store.files("")]
    second = call("land", "files", str(lines), "--topic", "t", "--json").json
    assert second["files"] == [row | {"skipped": True}]
    said = call("land", "files", str(lines), "--topic", "t")
    assert (said.code, said.out) == (0, f"{lines}: landed before, skipped\n")
    assert [(info.path, made.store.read(info.path)) for info in made.store.files("")] == before


def test_landing_says_what_it_landed(call: Call, made: Handmade, lines: Path) -> None:
    other = lines.with_name("other")
    other.write_bytes(b"x\n")
    said = call("land", "files", str(lines), str(other), "--landed-at", "2026-03-02T00:00:00Z")
    assert (said.code, said.out) == (0, f"{lines}: 3 lines\n{other}: 1 lines\n")
    assert [str(item) for item in landed(made.store)] == ["native/0/0-3", "native/0/3-4"]
    raw = gzip.decompress(made.store.read(landed(made.store)[1].path))
    assert raw == b"3\t%d\t.\tx\n" % DAY


def test_status_counts_what_has_landed(call: Call, released: Handmade, lines: Path) -> None:
    store_policy(released.store, policy(4, limit("a", "requests", 5), valid=(0, 2)))
    for topic in ("t", "u"):
        call("land", "files", str(lines), "--topic", topic)
    document = call("status", "--json").json
    assert document["landed"] == {"ranges": 2, "lines": 6}
    assert document["topics"] == [  # the release has offsets 0 to 10 of t
        {"topic": "t", "ranges": 1, "lines": 3, "pending": 0},
        {"topic": "u", "ranges": 1, "lines": 3, "pending": 1},
    ]
    assert document["release"] == 1
    assert document["policy"] == {
        "epoch": 4,
        "release": 1,
        "valid_from": "2026-03-02T00:00:00Z",
        "expires_at": "2026-03-02T02:00:00Z",
    }
    text = call("status").out
    assert "6 lines in 2 ranges" in text
    assert "4 of release 1, valid 2026-03-02T00:00:00Z to 2026-03-02T02:00:00Z" in text


def test_releases_are_listed_and_shown(call: Call, released: Handmade) -> None:
    released.publish(waivers=["waivers/x"])
    rows = call("release", "list", "--json").json["releases"]
    assert [(row["release"], row["parent"], row["lines"], row["days"], row["waivers"]) for row in rows] == [
        (1, None, 10, 1, 0),
        (2, 1, 10, 1, 1),
    ]
    assert [(row["content_of"], row["pinned"], row["code"]) for row in rows] == [(None, False, "0.1.0+abc")] * 2
    assert rows[0]["written"].endswith("Z")
    assert call("release", "show", "--json").json == json.loads(released.store.read("releases/0000000002.json"))
    assert call("release", "show", "1", "--json").json == json.loads(released.store.read("releases/0000000001.json"))
    assert "release 1, after none, code 0.1.0+abc, 1 days" in call("release", "show", "1").out
    assert "tiling: 1 ranges" in call("release", "show").out
    assert len(call("release", "list").out.splitlines()) == 4


def test_going_back_pins_the_store_and_runs_say_so(call: Call, released: Handmade) -> None:
    released.publish()
    assert call("release", "rollback", "1", "--json").json == {"release": 3, "rolled_back_to": 1, "pinned": True}
    assert call("status", "--json").json["pinned"] is True
    newest = call("release", "list", "--json").json["releases"][-1]
    assert (newest["release"], newest["content_of"], newest["pinned"]) == (3, 1, True)
    files = [info.path for info in released.store.files("")]
    document = call("run", "--json").json
    assert (document["release"], document["released"], document["pinned"]) == (3, False, True)
    assert "release 3 is pinned by a rollback" in call("run").out
    assert [info.path for info in released.store.files("")] == files  # nothing is released or published
    assert call("release", "resume", "--json").json == {"resumed": 3}
    assert call("release", "resume").out == "nothing is pinned\n"
    assert call("status", "--json").json["pinned"] is False


def test_sql_answers_in_columns_and_rows(call: Call, released: Handmade) -> None:
    statement = "SELECT hour, tenant, requests, sum(requests) OVER () AS total, gpu_ms, NULL AS nil FROM usage_hourly"
    assert call("sql", statement, "--json").json == {
        "columns": ["hour", "tenant", "requests", "total", "gpu_ms", "nil"],
        "rows": [["2026-03-02T00:00:00Z", "a", 3, 3, 0.0, None]],
    }
    assert released.store.read("CURRENT") == b"0000000001"


VALUES: dict[str, object] = {
    "hour + INTERVAL 1 MILLISECOND": "2026-03-02T00:00:00.001Z",
    "TIMESTAMPTZ '2026-03-02 05:30:00+05:30'": "2026-03-02T00:00:00Z",
    "DATE '2026-03-02'": "2026-03-02",
    "9223372036854775807": 2**63 - 1,
    "170141183460469231731687303715884105727::HUGEINT": 2**127 - 1,
    "3.0::DECIMAL(9, 1)": 3,
    "1.5::DECIMAL(9, 1)": 1.5,
    "0.5::DOUBLE": 0.5,
    "true": True,
    "'\\xFF\\x00'::BLOB": base64.b64encode(b"\xff\0").decode(),
    "MAP {'a': 1}": {"a": 1},
    "{'at': hour, 'all': [1, NULL]}": {"at": "2026-03-02T00:00:00Z", "all": [1, None]},
    "chr(27) || '[31m' || chr(8238)": "\x1b[31m\u202e",
}


def test_values_are_what_json_has_for_them(call: Call, released: Handmade) -> None:
    assert released.days
    (row,) = call("sql", f"SELECT {', '.join(VALUES)} FROM usage_hourly", "--json").json["rows"]
    assert [(value, type(value)) for value in row] == [(value, type(value)) for value in VALUES.values()]


@pytest.mark.parametrize("word", ["nan", "inf", "-inf"])
def test_numbers_that_json_lacks_do_not_break_the_document(word: str, call: Call, released: Handmade) -> None:
    assert released.days
    assert len(call("sql", f"SELECT '{word}'::DOUBLE", "--json").json["rows"]) == 1


def test_a_select_that_fails_on_the_way_is_a_wrong_call(call: Call, released: Handmade) -> None:
    assert released.days
    said = call("sql", "SELECT tenant::INT FROM usage_hourly")
    assert said.code == 2
    assert said.error.startswith("sql: ")


@pytest.mark.parametrize("damage", ["cut", "gone", "flipped", "replaced"])
def test_a_published_file_that_cannot_be_read_is_exit_4(damage: str, call: Call, released: Handmade) -> None:
    (entry,) = released.day(DAY).tables["usage_hourly"]
    data = released.store.read(entry.path)
    released.store.delete(entry.path)
    if damage == "cut":
        released.store.write_if_absent(entry.path, data[: len(data) // 2])
    if damage == "flipped":
        released.store.write_if_absent(entry.path, bytes(255 - byte for byte in data[:-8]) + data[-8:])
    if damage == "replaced":  # as valid, as large, and with other numbers in it
        rows = pq.read_table(pa.BufferReader(data))
        requests = pa.array([number + 1 for number in rows["requests"].to_pylist()])
        sink = pa.BufferOutputStream()
        changed = rows.set_column(rows.column_names.index("requests"), rows.schema.field("requests"), requests)
        pq.write_table(changed, sink, compression="zstd")
        released.store.write_if_absent(entry.path, sink.getvalue().to_pybytes())
        assert len(released.store.read(entry.path)) == len(data)
    said = call("sql", "WITH one AS (SELECT (SELECT sum(ok) FROM Usage_Hourly)) SELECT * FROM one")
    assert said.code == 4
    assert entry.path in said.error


def test_a_waiver_is_recorded_and_named(call: Call, made: Handmade, lines: Path) -> None:
    call("land", "files", str(lines), "--topic", "t")
    path = call("audit", "waive", "bad_share", "t/0/0-3", "--reason", "known", "--json").json["waiver"]
    assert json.loads(made.store.read(path)) == {"check": "bad_share", "range": "t/0/0-3", "reason": "known"}
    assert call("audit", "waive", "bad_share", "t/0/0-3", "--reason", "again").code == 2


def test_a_run_with_nothing_to_release_still_derives_and_publishes(call: Call, released: Handmade) -> None:
    """The release was made by a run that was cut off before it derived."""
    minute = {"minute": at(0), "tenant": "a", "model": "m", "kind": "requests", "demand": 40, "admitted": 40}
    released.add("demand_minutely", minute, hours=[DAY])
    released.counted(DAY, DAY + HOUR)
    released.publish()
    document = call("run", "--json").json
    assert (document["release"], document["released"], document["policy"], document["policy_new"]) == (
        2,
        False,
        1,
        True,
    )
    assert json.loads(released.store.read("published/policy.json"))["epoch"] == 1
    again = call("run", "--json").json
    assert (again["policy"], again["policy_new"]) == (1, False)
    assert "nothing pending; release 2 stands" in call("run").out
