"""The public traces through the whole loop: no request and no token of the files is lost or counted twice."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.loop.stores import REPOSITORY, Loop

AZURE, LLMPERF = "azure-llm-2023/*.csv", "llmperf-leaderboard/raw_data/individual/*.json"
KINDS = ("code", "conv")


def _found(pattern: str) -> list[Path]:
    """Files of a trace below ``QUOTALOOP_TRACES``, or below ``shared/data`` beside the repository or above it."""
    named = os.environ.get("QUOTALOOP_TRACES")
    folders = [Path(named)] if named else [parent / "shared" / "data" for parent in REPOSITORY.parents]
    return next((files for folder in folders if (files := sorted(folder.glob(pattern)))), [])


@pytest.fixture(scope="module")
def traces() -> dict[str, list[Path]]:
    """The files by their format."""
    files = {"azure-llm": _found(AZURE), "llmperf": _found(LLMPERF)}
    absent = [name for name, found in files.items() if not found]
    if absent:
        pytest.skip(
            f"the public traces {', '.join(absent)} are not on this machine; QUOTALOOP_TRACES names their folder"
        )
    return files


@pytest.fixture(scope="module")
def loop(traces: dict[str, list[Path]], engines: None, tmp_path_factory: pytest.TempPathFactory) -> Loop:  # noqa: ARG001
    """Both traces, landed by the command line, in one release."""
    loop = Loop(tmp_path_factory.mktemp("traces") / "store")
    for file_format, files in traces.items():
        said = loop.call("land", "files", *map(str, files), "--format", file_format, "--json")
        assert said.code == 0, said.err
        assert "tenant" in said.json["derived"]
    assert loop.run().released
    return loop


@pytest.mark.parametrize("kind", KINDS)
def test_requests_and_tokens_of_azure_are_those_of_the_file_hour_by_hour(
    loop: Loop, traces: dict[str, list[Path]], kind: str
) -> None:
    (path,) = (path for path in traces["azure-llm"] if kind in path.name)
    expected: dict[str, Counter[str]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            sums = expected.setdefault(row["TIMESTAMP"][:13], Counter())
            read, written = int(row["ContextTokens"]), int(row["GeneratedTokens"])
            sums.update(requests=1, ok=1, input_tokens=read, output_tokens=written, total_tokens=read + written)
    assert sum(sums["requests"] for sums in expected.values()) > 8_000
    assert _sums(loop, f"model = 'azure-llm-{kind}'") == expected


def test_requests_and_tokens_of_llmperf_are_those_of_the_files(loop: Loop, traces: dict[str, list[Path]]) -> None:
    expected: Counter[str] = Counter()
    for path in traces["llmperf"]:
        for row in json.loads(path.read_text("utf-8")):
            read, written, total = (row[f"number_{which}_tokens"] for which in ("input", "output", "total"))
            if row["error_code"] == 429:
                expected.update(requests=1, denied=1, wanted_tokens=total)
                continue
            outcome = "errors" if row["error_code"] else "ok"
            expected.update(input_tokens=read, output_tokens=written, total_tokens=total)
            expected.update({"requests": 1, outcome: 1})
    assert expected["denied"] > 0
    assert expected["errors"] > 0
    found: Counter[str] = Counter()
    for sums in _sums(loop, "tenant LIKE 'llmperf-%'").values():
        found += sums
    assert found == expected


def test_every_line_of_the_traces_is_accepted(loop: Loop, traces: dict[str, list[Path]]) -> None:
    rows = sum(len(path.read_text("utf-8").splitlines()) - 1 for path in traces["azure-llm"])
    rows += sum(len(json.loads(path.read_text("utf-8"))) for path in traces["llmperf"])
    nothing = dict.fromkeys(("duplicate", "late", "quarantined"), 0)
    assert loop.ledger() == {"lines": rows, "accepted": rows, **nothing}
    assert len(loop.rows("ingest_ledger")) == sum(map(len, traces.values()))


def test_the_recount_has_the_same_totals(loop: Loop) -> None:
    names = ("requests", "total_tokens", "wanted_tokens")
    recounted = loop.recounted()["usage_hourly"].to_pylist()
    assert [sum(row[name] for row in recounted) for name in names] == [
        sum(row[name] for row in loop.rows("usage_hourly")) for name in names
    ]


def _sums(loop: Loop, condition: str) -> dict[str, Counter[str]]:
    """Amounts above 0 of the usage table by hour, spelled like the traces' own times."""
    names = (
        *("requests", "ok", "errors", "denied", "cancelled", "input_tokens", "cache_read_tokens"),
        *("cache_write_tokens", "output_tokens", "reasoning_tokens", "total_tokens", "wanted_tokens"),
    )
    columns = ", ".join(f"sum({name})::BIGINT" for name in names)
    hour = "strftime(hour, '%Y-%m-%d %H')"
    rows = loop.sql(f"SELECT {hour}, {columns} FROM usage_hourly WHERE {condition} GROUP BY hour ORDER BY hour")
    return {hour: +Counter(dict(zip(names, sums, strict=True))) for hour, *sums in rows}
