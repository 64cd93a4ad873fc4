"""The committed sample is what its generator makes, and its truth is what a plain reading of its lines gives."""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data"))

from sample.defects import DEFECTS
from sample.dirt import ACCEPTED, CONFLICT, DUPLICATE
from sample.generate import main
from sample.oddities import epoch_ms
from sample.page import page
from sample.stream import generate, labelled
from sample.truth import KNOWN, Truth

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
BASE = {"ts": "2026-03-02T00:00:00.000Z", "route": "/r", "api_version": "v1", "status": 200, "duration_ms": 1}


@pytest.fixture(scope="module")
def remade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    main(["--out", str(folder), "--plain"])
    return folder


def figures_of(*events: dict[str, Any]) -> dict[str, Any]:
    truth = Truth()
    for event in events:
        truth.add(json.dumps(BASE | event).encode(), ACCEPTED)
    return truth.figures()


def test_the_committed_lines_are_those_the_generator_makes(remade: Path) -> None:
    committed = gzip.decompress((SAMPLE / "requests.jsonl.gz").read_bytes())
    assert committed == (remade / "requests.jsonl").read_bytes()


@pytest.mark.parametrize("name", ["truth.json", "README.md"])
def test_the_committed_truth_and_page_are_those_the_generator_makes(remade: Path, name: str) -> None:
    assert (SAMPLE / name).read_text("utf-8") == (remade / name).read_text("utf-8")


def test_the_page_is_rendered_from_the_truth() -> None:
    truth = json.loads((SAMPLE / "truth.json").read_text("utf-8"))
    assert (SAMPLE / "README.md").read_text("utf-8") == page(truth)


def test_the_same_seed_gives_the_same_lines_and_another_gives_others() -> None:
    first = list(generate(3000, seed=3))
    assert list(generate(3000, seed=3)) == first
    assert list(generate(3000, seed=4)) != first


@pytest.mark.parametrize("lines", [1, 2, 57, 1000, 45_678])
def test_there_are_exactly_as_many_lines_as_asked_for(lines: int) -> None:
    assert sum(1 for _ in generate(lines, days=3, dirt=0.1)) == lines


def test_a_hundredth_is_dirty_and_every_reason_occurs() -> None:
    outcomes = Counter(outcome for _, outcome in labelled(20_000))
    assert outcomes[ACCEPTED] == 19_800
    assert outcomes[DUPLICATE] + outcomes[CONFLICT] == 90
    assert outcomes.keys() == {ACCEPTED, DUPLICATE, CONFLICT, *DEFECTS}


def test_clean_lines_are_all_accepted_and_hold_known_fields_alone() -> None:
    lines = list(labelled(5000, dirt=0))
    assert {outcome for _, outcome in lines} == {ACCEPTED}
    assert set().union(*(json.loads(line) for line, _ in lines)) <= KNOWN


def test_clean_lines_stand_in_the_order_of_their_ends() -> None:
    events = [json.loads(line) for line in generate(5000, dirt=0)]
    ends = [_end_us(event) for event in events]
    assert all(before <= after for before, after in pairwise(ends))
    assert len({event["event_id"] for event in events}) == 5000


def _end_us(event: dict[str, Any]) -> int:
    duration_ms: float = event["duration_ms"]
    return epoch_ms(event["ts"]) * 1000 + round(duration_ms * 1000)


def test_no_damaged_line_takes_a_stamp_with_it() -> None:
    lines = labelled(20_000, dirt=0.05)
    damaged = [line for line, outcome in lines if outcome in DEFECTS and outcome != "stamp_incomplete"]
    assert len(damaged) > 400
    assert not [line for line in damaged if b'"seq"' in line]


def test_pieces_are_the_lines_of_one_file_cut_anywhere(tmp_path: Path) -> None:
    main(["--out", str(tmp_path), "--lines", "1001", "--pieces", "3", "--no-truth"])
    pieces = [gzip.decompress(path.read_bytes()) for path in sorted(tmp_path.iterdir())]
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"requests-0{n}.jsonl.gz" for n in range(3)]
    assert [piece.count(b"\n") for piece in pieces] == [333, 334, 334]
    assert b"".join(pieces) == b"".join(line + b"\n" for line in generate(1001))


def test_two_runs_write_the_same_compressed_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        main(["--out", str(tmp_path / name), "--lines", "500"])
    assert all((tmp_path / "a" / path.name).read_bytes() == path.read_bytes() for path in (tmp_path / "b").iterdir())


def test_only_the_planted_hole_is_open() -> None:
    truth = Truth()
    for line, outcome in labelled(20_000, seed=5, days=4, dirt=0.03):
        truth.add(line, outcome)
    (hole,) = truth.figures()["holes"]
    assert (hole["host"], hole["missing"], hole["hour"][:10]) == ("gw-c", 7, "2026-03-05")


def test_a_chain_counts_its_first_admitted_attempt_and_only_within_its_hour() -> None:
    denied = {"tenant": "acme", "status": 429, "wanted_tokens": 50}
    figures = figures_of(
        denied | {"event_id": "met"},
        denied | {"event_id": "again", "retry_of": "met", "ts": "2026-03-02T00:00:01Z"},
        {"event_id": "ok", "tenant": "acme", "retry_of": "met", "ts": "2026-03-02T00:00:02Z", "output_tokens": 40},
        denied | {"event_id": "unmet"},
        {"event_id": "later", "tenant": "acme", "retry_of": "unmet", "ts": 1772413200000, "output_tokens": 7},
    )
    assert figures["chains"]["requests"] == {"demand": 3, "unmet": 1}
    assert figures["chains"]["tokens"] == {"demand": 40 + 50 + 7, "unmet": 50}


def test_a_request_that_ends_when_another_starts_is_not_in_flight_with_it() -> None:
    calls = [("a", 0, 1000), ("b", 1, 1000), ("c", 1, 0), ("d", 3, 5)]
    events = [
        {"event_id": name, "tenant": "globex", "ts": f"2026-03-02T07:00:0{second}Z", "duration_ms": duration}
        for name, second, duration in calls
    ]
    assert figures_of(*events)["peak_concurrency"] == {"tenant": "globex", "peak": 2, "hour": "2026-03-02T07:00:00Z"}


def test_quantiles_are_elements_by_rank() -> None:
    events = [{"event_id": str(ms), "tenant": "t", "duration_ms": ms} for ms in range(1, 21)]
    latency = figures_of(*events)["latency_ok"]["v1"]
    assert latency == {"count": 20, "p50_ms": 10.0, "p95_ms": 19.0, "p99_ms": 20.0, "sum_us": 210_000}
