"""A difference between the engines stops a release; a waiver lets it through, and its hours move no quotas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs import stages
from jobs.work import Work
from tests.loop.stores import DAY, EXAMPLE, HOUR, Event, Loop, event

Tables = dict[str, pa.Table]


@pytest.fixture(scope="module")
def released(engines: None, tmp_path_factory: pytest.TempPathFactory) -> Loop:  # noqa: ARG001 - runs find them
    """The example, released, and one busy hour of the next day that is built and recounted, and not yet audited."""
    loop = Loop(tmp_path_factory.mktemp("released") / "store")
    loop.land_file(EXAMPLE / "events.jsonl", "example")
    assert loop.run().released
    loop.land("busy", *_BUSY)
    work = loop.work()
    stages.build(work)
    stages.recount(work)
    return loop


@pytest.fixture
def pending(released: Loop, tmp_path: Path) -> Loop:
    """A copy of its own for one test."""
    return released.copy(tmp_path / "store")


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, Callable[[pa.Table], pa.Table]], None]]:
    """Change a table of the recount for as long as the test runs."""
    honest = stages.recount

    def change(table: str, into: Callable[[pa.Table], pa.Table]) -> None:
        monkeypatch.setattr(stages, "recount", lambda work: _with(honest(work), table, into))

    return change


def set_first(column: str, value: object) -> Callable[[pa.Table], pa.Table]:
    """Another value in the first row."""
    return lambda table: table.set_column(
        table.schema.get_field_index(column),
        table.schema.field(column),
        pa.array([value, *table[column].to_pylist()[1:]], table.schema.field(column).type),
    )


def without_first(table: pa.Table) -> pa.Table:
    """All rows but the first."""
    return table.slice(1)


_KEY = "hour=2026-03-03T07:00:00Z"
_SERVED = f"{_KEY}, tenant=a, api_version=v1, model=unknown, route=/r, protocol=http"
PLANTED = {
    "a count": (
        "usage_hourly",
        set_first("requests", 41),
        f"usage_hourly[{_SERVED}].requests: Spark has 40, MapReduce 41",
    ),
    "microseconds": (
        "usage_hourly",
        set_first("gpu_us", 1),
        f"usage_hourly[{_SERVED}].gpu_ms: Spark has 0.0, MapReduce 0.001",
    ),
    "a row that is missing": (
        "usage_hourly",
        without_first,
        f"usage_hourly[{_SERVED}].requests: Spark has 40, MapReduce None",
    ),
    "a peak": (
        *("rate_limit_usage", set_first("demand", 2)),
        f"rate_limit_usage[{_KEY}, tenant=a, kind=concurrency].demand: Spark has 1, MapReduce 2",
    ),
    "a null": (
        *("rate_limit_usage", set_first("unmet", 0)),
        f"rate_limit_usage[{_KEY}, tenant=a, kind=concurrency].unmet: Spark has None, MapReduce 0",
    ),
    "a minute": (
        *("demand_minutely", set_first("admitted", 0)),
        "demand_minutely[minute=2026-03-03T07:00:00Z, tenant=a, model=unknown, kind=requests].admitted: "
        "Spark has 20, MapReduce 0",
    ),
    "a bucket": (
        *("latency_hourly", set_first("bucket", 1)),
        f"latency_hourly[{_KEY}, api_version=v1, model=unknown, route=/r, protocol=http, outcome=ok, "
        "metric=duration, bucket=1].count: Spark has None, MapReduce 40",
    ),
    "a sum of latencies": (
        *("latency_summary", set_first("sum_us", 40_001)),
        f"latency_summary[{_KEY}, api_version=v1, model=unknown, route=/r, protocol=http, metric=duration].sum_ms: "
        "Spark has 40.0, MapReduce 40.001",
    ),
    "a stamp": (
        *("completeness_hourly", set_first("missing", 1)),
        f"completeness_hourly[{_KEY}, host=h, boot=b].missing: Spark has 0, MapReduce 1",
    ),
    "an outcome": (
        *("outcomes", set_first("duplicate", 1)),
        f"outcomes[{_KEY}, topic=busy, partition=0, start_offset=0].duplicate: Spark has 0, MapReduce 1",
    ),
}


def test_what_is_built_already_is_released_without_spark(pending: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Work] = []
    monkeypatch.setattr(Work, "spark", lambda work: opened.append(work) or nullcontext())
    assert pending.run().released
    assert not opened


@pytest.mark.parametrize(("table", "into", "message"), PLANTED.values(), ids=PLANTED)
def test_a_planted_difference_stops_the_release_and_its_cell_is_named(
    pending: Loop, plant: Callable[..., None], table: str, into: Callable[[pa.Table], pa.Table], message: str
) -> None:
    before = _visible(pending)
    plant(table, into)
    said = pending.call("run", "--json")
    assert (said.code, said.out) == (3, "")
    assert f"double_entry: {message}; " in said.err
    assert said.err.rstrip().endswith("nothing was released")
    assert _visible(pending) == before
    assert pending.store.read("CURRENT") == b"0000000001"


FILES = {
    "late lines": (set_first("late", 1), "late: Spark has 0, MapReduce 1"),
    "a reason": (set_first("reasons", [("empty", 2)]), "reasons: Spark has {}, MapReduce {'empty': 2}"),
    "its lines": (set_first("lines", 41), "lines: Spark has 40, MapReduce 41"),
    "a file that is missing": (without_first, "MapReduce has not counted it"),
}


@pytest.mark.parametrize(("into", "message"), FILES.values(), ids=FILES)
def test_a_difference_about_a_file_stops_the_release_too(
    pending: Loop, plant: Callable[..., None], into: Callable[[pa.Table], pa.Table], message: str
) -> None:
    plant("lines", into)
    said = pending.call("run", "--json")
    assert (said.code, said.out) == (3, "")
    assert f"line_identity: busy/0/0-40: {message}; nothing was released" in said.err


def test_what_other_code_counted_is_counted_again(pending: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not list(pending.root.glob("builds/*/recount-other"))
    monkeypatch.setattr(stages, "checks_version", lambda: "other")
    stages.recount(pending.work())
    assert len(list(pending.root.glob("builds/*/recount-other/done"))) == 1


def test_without_a_difference_the_busy_hour_moves_the_quota(pending: Loop) -> None:
    before = _limits(pending)
    assert pending.call("run", "--json").code == 0
    assert pending.release().number == 2
    assert _limits(pending) != before


def test_a_waiver_lets_a_difference_through_on_the_record_and_the_hour_does_not_move_quotas(
    pending: Loop, plant: Callable[..., None]
) -> None:
    plant("usage_hourly", set_first("requests", 41))
    before = _limits(pending)
    assert pending.call("run").code == 3
    reason = "MapReduce is known to be wrong here"
    waived = pending.call("audit", "waive", "double_entry", f"busy/0/0-{len(_BUSY)}", "--reason", reason, "--json")
    done = pending.run()
    release = pending.release()
    assert (done.released, release.number) == (True, 2)
    assert release.waivers == [waived.json["waiver"]]
    assert json.loads(pending.store.read(release.waivers[0]))["reason"] == reason
    unanswered = [verdict for verdict in release.checks if not verdict.ok]
    assert [(verdict.check, verdict.waived) for verdict in unanswered] == [("double_entry", True)]
    assert "Spark has 40, MapReduce 41" in unanswered[0].detail
    assert done.derivation is not None
    assert {(hour - DAY) // HOUR: why for hour, why in done.derivation.unfit.items()} == {
        0: "missing",
        31: "waived",
    }
    assert _limits(pending) == before
    pending.check_whole()


def test_a_waiver_of_another_check_or_range_answers_nothing(pending: Loop, plant: Callable[..., None]) -> None:
    plant("usage_hourly", set_first("requests", 41))
    for check, where in (("bad_share", f"busy/0/0-{len(_BUSY)}"), ("double_entry", "example/0/0-13")):
        assert pending.call("audit", "waive", check, where, "--reason", "wrong one").code == 0
    assert pending.call("run").code == 3
    assert pending.store.read("CURRENT") == b"0000000001"


_BUSY: list[Event] = [
    event(f"busy{number}", 31 * HOUR + number * 3_000, host="h", boot="b", seq=6 + number) for number in range(40)
]


def _with(tables: Mapping[str, pa.Table], name: str, into: Callable[[pa.Table], pa.Table]) -> Tables:
    """The tables with one changed in the rows of the new day, or of the new file."""
    found = tables[name]
    if "topic" in found.schema.names:
        new = pc.equal(found["topic"], "busy")
    else:
        time = "minute" if "minute" in found.schema.names else "hour"
        new = pc.greater_equal(found[time].cast(pa.int64()), DAY + 24 * HOUR)
    return {**tables, name: pa.concat_tables([into(found.filter(new)), found.filter(pc.invert(new))])}


def _visible(loop: Loop) -> dict[str, str]:
    """All that readers and limiters look at."""
    folders = ("CURRENT", "releases/", "policies/", "published/", "waivers/")
    return {path: digest for path, digest in loop.bytes().items() if path.startswith(folders)}


def _limits(loop: Loop) -> list[Any]:
    policy: dict[str, Any] = json.loads(loop.store.read("published/policy.json"))
    return [(limit["tenant"], limit["kind"], limit["limit"], limit["burst"]) for limit in policy["limits"]]
