"""Arithmetic of pairs, the file of results, and the page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as bench
from bench.machine import machine, versions
from bench.measurements.growth import on_the_line
from bench.meter import Usage
from bench.page import BEGIN, END, render, tables
from bench.pairs import Spread, in_turn, ratio, typical
from bench.results import Results, Row, Stage, against, merged, read, write


def _usage(cpu_s: float) -> Usage:
    return Usage(cpu_s, cpu_s / 2, int(cpu_s * 1e6))


OURS, THEIRS = [_usage(2), _usage(6), _usage(4)], [_usage(1), _usage(2), _usage(8)]
FASTER = against("fast", "ours", "theirs", 1000, (OURS, THEIRS), at_most=2.0)
RECOUNT = against("recount", "ours", "theirs", 1000, (THEIRS, OURS), times_less=2.5)
RESULTS = Results(
    "python -m bench",
    {"cpu": "a processor", "cores": 2, "memory_gib": 16, "system": "Linux x86_64"},
    {"python": "3.11", "duckdb": "1"},
    [FASTER, RECOUNT],
    [Stage("parse", 1000, _usage(1))],
)


def test_sides_run_in_turn_and_the_order_alternates() -> None:
    calls: list[str] = []

    def run(name: str, cpu_s: float) -> Usage:
        calls.append(name)
        return _usage(cpu_s)

    a, b = in_turn([lambda: run("A", 1), lambda: run("B", 2)], 3)
    assert calls == ["A", "B", "B", "A", "A", "B"]
    assert (a, b) == ([_usage(1)] * 3, [_usage(2)] * 3)


def test_a_ratio_is_taken_pair_by_pair() -> None:
    assert ratio([2, 6, 4], [1, 2, 8]) == Spread(2, 0.5, 3)


def test_of_usages_the_median_and_the_greatest_peak_are_told() -> None:
    assert typical(OURS) == Usage(4, 2, 6_000_000)


def test_a_target_is_held_against_the_median() -> None:
    assert (FASTER.value.median, FASTER.reached) == (2, True)
    assert replace(FASTER, target=1.9).reached is False
    assert replace(FASTER, target=None).reached is None


def test_times_less_is_the_yardstick_over_ours() -> None:
    assert (RECOUNT.value, RECOUNT.at_least, RECOUNT.reached) == (Spread(2, 0.5, 3), True, False)


def test_the_straight_line_goes_through_both_points() -> None:
    assert on_the_line(_usage(10), _usage(16)).cpu_s == 10 + 6 / 3 * 15


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    write(RESULTS, tmp_path / "results.json")
    assert read(tmp_path / "results.json") == RESULTS


def test_the_file_says_for_every_row_what_it_must(tmp_path: Path) -> None:
    write(RESULTS, tmp_path / "results.json")
    document = json.loads((tmp_path / "results.json").read_text())
    assert set(document) == {"format", "command", "machine", "versions", "rows", "stages"}
    for row in document["rows"]:
        assert {"name", "ours", "yardstick", "value", "target", "reached"} <= set(row)
    assert [row["reached"] for row in document["rows"]] == [True, False]


def test_one_measurement_replaces_its_row_alone() -> None:
    again = replace(FASTER, lines=5)
    assert merged(RESULTS, replace(RESULTS, rows=[again], stages=[])) == replace(RESULTS, rows=[again, RECOUNT])


@pytest.mark.parametrize("changed", [{"machine": {"cores": 64}}, {"command": "python -m bench --lines 5000"}])
def test_rows_of_another_machine_or_command_are_not_kept(changed: dict[str, Any]) -> None:
    now = replace(RESULTS, rows=[FASTER], **changed)
    assert merged(RESULTS, now) == now


def test_the_page_is_written_between_its_markers_alone_and_twice_is_once(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    render(RESULTS, page)
    once = page.read_text()
    render(RESULTS, page)
    assert page.read_text() == once
    assert once.startswith(f"before\n{BEGIN}\n")
    assert once.endswith(f"\n{END}\nafter\n")
    assert "old" not in once
    assert "| fast | ours | theirs | 1,000 | 2.00 x | 0.50 x to 3.00 x | 2.00 x | ≤ 2.00 x | yes |" in once
    assert "| recount | ours | theirs | 1,000 | 2.00 x less | 0.50 x less to 3.00 x less |" in once
    assert "| parse | 1,000 | 1.0 | 1000.0 | 0.5 | 1 |" in once


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="lacks the markers"):
        render(RESULTS, page)
    assert page.read_text() == "nothing"


def test_errors_are_shown_as_percent() -> None:
    row = Row("q", "a", "b", 10, None, None, Spread(0.0099, 0.0099, 0.0099), "relative error", None, 0.01)
    assert "| 0.99 % | 0.99 % to 0.99 % | - | ≤ 1.00 % | yes |" in tables(replace(RESULTS, rows=[row]))


def test_what_may_be_below_zero_keeps_its_unit() -> None:
    row = Row("p99", "a", "", 10, None, None, Spread(0.05, -1.9, 1.6), "ms", None, 1.0)
    assert "| 0.05 ms | -1.90 ms to 1.60 ms | - | ≤ 1.00 ms | yes |" in tables(replace(RESULTS, rows=[row]))


def test_the_page_and_the_results_say_nothing_of_one_machine() -> None:
    import socket

    text = json.dumps(machine()) + json.dumps(versions()) + bench.PAGE.read_text("utf-8")
    if bench.RESULTS.exists():
        text += bench.RESULTS.read_text("utf-8")
    assert socket.gethostname() not in text
    assert not re.search(r'(?:^|[\s"(])/(?:home|root|work|Users|tmp)/', text)


def test_the_committed_page_shows_the_committed_results(tmp_path: Path) -> None:
    if not bench.RESULTS.exists():
        pytest.skip("nothing has been measured yet")
    copy = tmp_path / "performance.md"
    copy.write_text(bench.PAGE.read_text("utf-8"), "utf-8")
    render(read(bench.RESULTS), copy)
    assert copy.read_text("utf-8") == bench.PAGE.read_text("utf-8"), "run `python -m bench --render`"


def test_wrong_calls_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for call in (["--lines", "10"], ["--rounds", "0"], ["--only", "nothing"]):
        with pytest.raises(SystemExit):
            bench.main(call)
    assert "at least 1000 lines" in capsys.readouterr().err
