"""The whole job, through mrjob's real runner where it matters."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs.mapreduce.mr_recount import MRRecount
from jobs.mapreduce.recount import Recount, recount
from jobs.mapreduce.schemas import GRAINS, SCHEMAS
from quotaloop.errors import InputUnreadable, QuotaloopError, UsageError

EXAMPLE = Path(__file__).parents[2] / "example"
EXACT = ("usage_hourly", "latency_hourly", "rate_limit_usage", "completeness_hourly")
MINUTES = ("demand", "admitted", "denied", "unmet")


@pytest.fixture
def expected() -> dict[str, list[dict[str, Any]]]:
    tables: dict[str, list[dict[str, Any]]] = json.loads((EXAMPLE / "expected.json").read_text("utf-8"))
    return tables


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files of the job go."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture
def example(workshop: Any, scratch: Path) -> Recount:
    """The worked example in two files, counted by real processes that have only the zip."""
    lines = (EXAMPLE / "events.jsonl").read_bytes().splitlines()
    workshop.land(*lines[:7], topic="example")
    workshop.land(*lines[7:], topic="example", start=7)
    found = recount(workshop.files, workshop.plan([0, 1, 2, 3]), runner="local")
    assert list(scratch.iterdir()) == []
    return found


def test_the_worked_example_is_counted_to_the_unit_by_code_out_of_the_zip(
    example: Recount, expected: dict[str, list[dict[str, Any]]]
) -> None:
    for name in EXACT:
        assert _plain(name, example[name]) == _in_order(name, [_in_micros(row) for row in expected[name]]), name
    summary = [
        {key: value for key, value in _in_micros(row).items() if not key.startswith("p")}
        | {"protocol": row["protocol"]}
        for row in expected["latency_summary_exact_quantiles"]
    ]
    assert _plain("latency_summary", example["latency_summary"]) == _in_order("latency_summary", summary)
    ledger = expected["ingest_ledger"][0]
    lines, outcomes = example["lines"].to_pylist(), example["outcomes"].to_pylist()
    assert sum(row["lines"] for row in lines) == ledger["lines"]
    assert sum(row["accepted"] for row in outcomes) == ledger["accepted"]
    assert sum(row["duplicate"] for row in outcomes) == ledger["duplicate"]
    assert [dict(row["reasons"]) for row in lines] == [{}, {"truncated": 1}]
    assert example.counters["recount"]["tasks with shipped code"] == 2
    assert (example.counters["recount"]["raw files"], example.counters["recount"]["lines read"]) == (2, 13)
    for name, schema in SCHEMAS.items():
        assert example[name].schema == schema


def test_minutes_add_up_to_the_hour(workshop: Any, expected: dict[str, list[dict[str, Any]]]) -> None:
    workshop.land(*(EXAMPLE / "events.jsonl").read_bytes().splitlines(), topic="example")
    found: dict[tuple[str, str, str], list[int]] = {}
    for row in workshop.count()["demand_minutely"].to_pylist():
        sums = found.setdefault((f"{row['minute']:%H}", row["tenant"], row["kind"]), [0, 0, 0, 0])
        for place, measure in enumerate(MINUTES):
            sums[place] += row[measure]
    assert found == {
        (row["hour"][11:13], row["tenant"], row["kind"]): [row[measure] for measure in MINUTES]
        for row in expected["rate_limit_usage"]
        if row["kind"] != "concurrency"
    }


def test_a_damaged_raw_file_stops_the_job_with_one_line_that_says_why(workshop: Any, scratch: Path) -> None:
    path = Path(workshop.land(workshop.event("e", 0)))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(
        QuotaloopError, match=r"mapper 0 of step 1: .*InputUnreadable: raw file raw/t/p=00000"
    ) as caught:
        recount(workshop.files, workshop.plan([0]), runner="local")
    assert "\n" not in str(caught.value)
    assert list(scratch.iterdir()) == []


def test_tenants_in_shards_give_the_same_rows(workshop: Any) -> None:
    for partition in (0, 1):
        events = [workshop.event(f"e{n}", n * 60_000, tenant=f"t{n % 7}", duration_ms=n * 1000) for n in range(60)]
        workshop.land(*events, partition=partition)
    whole, parts = workshop.count(), workshop.count(shards=4)
    assert all(whole[name].equals(parts[name]) for name in SCHEMAS)
    assert whole["usage_hourly"].num_rows == 7


def test_lines_of_hours_that_are_not_read_are_in_the_ledger_alone(workshop: Any) -> None:
    workshop.land(workshop.event("e", 0), workshop.event("f", 3_600_000, colour="red"), b"{", b"")
    found = workshop.count([0])
    (row,) = found["lines"].to_pylist()
    assert (row["lines"], dict(row["reasons"]), dict(row["unknown_fields"])) == (
        4,
        {"truncated": 1, "empty": 1},
        {"colour": 1},
    )
    assert sum(row["accepted"] for row in found["outcomes"].to_pylist()) == 1


def test_a_late_line_is_counted_as_late(workshop: Any) -> None:
    event = workshop.event("e", 0)
    workshop.land(event, time=event["ts"] + 48 * 3_600_000 + 1)
    (row,) = workshop.count()["lines"].to_pylist()
    assert (row["lines"], row["late"], dict(row["reasons"])) == (1, 1, {})


def test_no_raw_files_give_empty_tables(workshop: Any) -> None:
    assert all(workshop.count()[name].num_rows == 0 for name in SCHEMAS)


def test_a_file_named_twice_is_refused(workshop: Any) -> None:
    path = workshop.land(workshop.event("e", 0))
    with pytest.raises(QuotaloopError, match="file twice"):
        recount([path, path], workshop.plan([0]), runner="inline")


def test_a_file_that_is_read_twice_or_not_at_all_is_noticed(workshop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.land(workshop.event("e", 0))
    workshop.land(workshop.event("f", 0), start=1)
    read = MRRecount.divide
    for times, said in ((2, "twice: 3 read, 3 arrived of 2"), (0, "lost a file .*: t/0/1-2")):

        def divide(job: MRRecount, path: str, uri: str, times: int = times) -> Iterator[Any]:
            for _ in range(times if "0001-" in uri else 1):
                yield from read(job, path, uri)

        monkeypatch.setattr(MRRecount, "divide", divide)
        with pytest.raises(QuotaloopError, match=said):
            workshop.count()


def test_counters_are_few_and_short_however_many_files_there_are_and_whatever_their_names(workshop: Any) -> None:
    """Hadoop has 120 of them for a job, and cuts their names after 64 characters."""
    for number in range(130):
        workshop.land(workshop.event(f"e{number}", 0), topic="t" * 240, start=number)
    found = workshop.count()
    assert found["lines"].num_rows == 130
    names = [name for group in found.counters.values() for name in group]
    assert len(names) < 10
    assert max(map(len, names)) <= 64


def test_files_that_are_missing_or_not_raw_are_named(workshop: Any, tmp_path: Path) -> None:
    with pytest.raises(InputUnreadable, match="is not there"):
        recount([str(tmp_path / f"raw/t/p=00000/{0:020d}-{1:020d}.jsonl.gz")], workshop.plan([0]), runner="inline")
    (tmp_path / "x.gz").touch()
    with pytest.raises(UsageError, match="is no raw file"):
        recount([str(tmp_path / "x.gz")], workshop.plan([0]), runner="inline")


def _in_micros(row: dict[str, Any]) -> dict[str, Any]:
    """The expected row with whole microseconds; ``ms`` there is given as a decimal of at most three places."""
    return {
        (name.removesuffix("_ms") + "_us" if name.endswith("_ms") else name): (
            round(value * 1000) if name.endswith("_ms") else value
        )
        for name, value in row.items()
    }


def _plain(name: str, table: pa.Table) -> list[dict[str, Any]]:
    """Rows without nulls, in the order of the grain, hours as text."""
    found = [{key: value for key, value in row.items() if value is not None} for row in table.to_pylist()]
    return _in_order(name, [row | {"hour": f"{row['hour']:%Y-%m-%dT%H:%M:%SZ}"} for row in found])


def _in_order(name: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda row: [row[key] for key in GRAINS[name]])
