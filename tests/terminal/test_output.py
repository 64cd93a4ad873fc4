"""Results for people: a table says what is in it, and nothing in it is obeyed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from quotaloop.marts.release import Release, Span, Verdict
from quotaloop.results import Derivation
from quotaloop.terminal import output, quotas
from quotaloop.terminal.bars import Bars
from tests.marts.handmade import Handmade, limit, policy
from tests.terminal.screen import HOSTILE, SPELLED, cells, lines, shown

ROWS = [{"name": "a", "count": 1_234_567}, {"name": "[b]", "count": None}]
STATUS: dict[str, Any] = {
    "store": "file:///s",
    "landed": {"ranges": 2, "lines": 12_345},
    "pending": {"ranges": 1, "hours": 0, "unparsed": 0, "derivation": True, "publication": False},
    "release": 3,
    "pinned": True,
    "policy": None,
    "closed_before": None,
    "unfinished": [],
    "topics": [{"topic": "t", "ranges": 2, "lines": 12_345, "pending": 1}],
}
LANDED: dict[str, Any] = {"file": "a.jsonl", "lines": 1_000, "ranges": ["t/0/0-1000"], "skipped": False, "sha256": "0"}
RELEASE: dict[str, Any] = {
    "number": 2,
    "parent": 1,
    "code": "0.1.0+abc",
    "settings": {},
    "fingerprint": "f",
    "checks": [],
    "raw": [],
    "days": {"2026-03-02": "0"},
    "ledger": None,
    "waivers": [],
}
QUARANTINED = ["topic", "partition", "offset", "kafka_time", "reason", "length", "sha256", "raw", "encoding"]


def _quarantined(text: str) -> Any:
    row = ["t", 0, 7, None, "syntax", 12_345, "0", text, "utf-8"]
    return output.quarantined({"columns": QUARANTINED, "rows": [row]})


RESULTS: dict[str, Callable[[str], Any]] = {
    "value": output.plain,
    "table": lambda text: output.table([{text: text}]),
    "grid": lambda text: output.grid({"columns": ["a", text], "rows": [[1, text]]}),
    "verdict": lambda text: output.verdicts([Verdict("double_entry", False, text)]),
    "release, its checks": lambda text: output.release(Release(**RELEASE | {"checks": [Verdict(text, True, "")]})),
    "release, its raw": lambda text: output.release(Release(**RELEASE | {"raw": [Span(text, 0, 0, 1, "0")]})),
    "policy": lambda text: quotas.derivation_text(
        Derivation(policy(1, limit("a", "requests", 1, evidence={"bound_by": text})), True, "", 1, {})
    ),
    "replay": lambda text: output.replayed({"lines": 1, "changed": 1, "outcomes": [{"reason": text, "now": text}]}),
    "quarantine": _quarantined,
    "status, its topics": lambda text: output.status(STATUS | {"topics": [{"topic": text}]}),
}
OBEYED: dict[str, Callable[[str], Any]] = {
    "landed": lambda text: output.landed([LANDED | {"file": text}], []),
    "landed before": lambda text: output.landed([LANDED | {"file": text, "skipped": True}], []),
    "store": lambda text: output.status(STATUS | {"store": text}),
    "unfinished": lambda text: output.status(STATUS | {"unfinished": [text]}),
}


@pytest.mark.parametrize("name", RESULTS)
def test_what_a_terminal_would_obey_is_spelled_out(name: str) -> None:
    text = shown(RESULTS[name](HOSTILE))
    assert SPELLED in text
    assert [char for char in text if not char.isprintable() and char != "\n"] == []


@pytest.mark.parametrize("name", OBEYED)
def test_names_of_files_are_spelled_out_too(name: str) -> None:
    text = shown(OBEYED[name](HOSTILE))
    assert SPELLED in text
    assert [char for char in text if not char.isprintable() and char != "\n"] == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (1_234_567, "1,234,567"),
        (-1_000, "-1,000"),
        (True, "True"),
        (0.5, "0.5"),
        ("1234567", "1234567"),
        ("caf\u00e9 \u4e2d \U0001f600", "caf\u00e9 \u4e2d \U0001f600"),
        ("no\u00a0break", "no\\xa0break"),
        ("\udcff", "\\udcff"),
        ("\\x1b", "\\x1b"),
        (datetime(2026, 3, 2, tzinfo=UTC), "2026-03-02 00:00:00+00:00"),
    ],
)
def test_a_value_is_text(value: object, text: str) -> None:
    assert output.plain(value).plain == text
    assert output.plain(value).spans == []


def test_a_table_has_a_line_a_row_and_numbers_to_the_right() -> None:
    head, _, first, second = lines(output.table(ROWS))
    assert cells(head) == ["name", "count"]
    assert (first, second) == ("a    \u2502 1,234,567", "[b]  \u2502")
    assert lines(output.table([])) == ["nothing"]
    assert cells(lines(output.grid({"columns": ["a", "b"], "rows": []}))[0]) == ["a", "b"]


def test_a_long_value_is_folded_and_not_cut() -> None:
    text = "x" * 70 + "end"
    assert "".join(lines(output.table([{"name": text}]), 40)[2:]) == text


def test_rows_of_a_query_are_plain_values() -> None:
    relation = duckdb.sql("SELECT 1 AS a, 'x' AS b, TIMESTAMP '2026-03-02' AS c UNION ALL SELECT NULL, '', NULL")
    assert output.rows(relation) == {
        "columns": ["a", "b", "c"],
        "rows": [[1, "x", "2026-03-02T00:00:00Z"], [None, "", None]],
    }


def test_a_verdict_is_ok_waived_or_refused() -> None:
    verdicts = [Verdict("a", True, "fine"), Verdict("b", False, "not", waived=True), Verdict("c", False, "never")]
    assert lines(output.verdicts(verdicts)) == ["ok      a: fine", "waived  b: not", "REFUSED c: never"]
    assert output.verdict(verdicts[1]) == {"check": "b", "ok": False, "detail": "not", "waived": True}


def test_what_was_landed_and_what_of_it_is_derived_is_said() -> None:
    files = [LANDED, LANDED | {"file": "b.jsonl", "skipped": True}]
    assert lines(output.landed(files, ["tenant", "route"])) == [
        "a.jsonl: 1,000 lines",
        "b.jsonl: landed before, skipped",
        "derived, for the source does not state them: tenant, route",
    ]


def test_status_says_what_is_pending_pinned_and_in_force() -> None:
    in_force = {"epoch": 4, "release": 3, "valid_from": "2026-03-02T00:00:00Z", "expires_at": "2026-03-04T00:00:00Z"}
    assert lines(output.status(STATUS | {"policy": in_force, "unfinished": ["t: a.jsonl"]}))[:6] == [
        "store      file:///s",
        "landed     12,345 lines in 2 ranges",
        "pending    1 ranges to release, 0 to parse",
        "release    3, pinned by a rollback",
        "policy     4 of release 3, valid 2026-03-02T00:00:00Z to 2026-03-04T00:00:00Z",
        "unfinished: t: a.jsonl; land it again",
    ]
    nothing = lines(output.status(STATUS | {"release": None, "pinned": False, "topics": []}))
    assert nothing[3:] == ["release    none", "policy     none", "nothing"]


def test_releases_are_listed_by_what_people_ask(tmp_path: Path) -> None:
    made = Handmade(tmp_path)
    made.publish()
    made.publish(waivers=["a", "b"], pinned=True, rolled_back_to=1, days={})
    documents = output.releases(made.store)
    assert [row["pinned"] for row in documents] == [False, True]
    head, _, first, second = (cells(line) for line in lines(output.releases_text(documents)))
    assert head == ["release", "written", "days", "lines", "waivers", "content_of", "pinned"]
    assert (first[0], *first[2:]) == ("1", "0", "10", "0", "", "")
    assert (second[0], *second[2:]) == ("2", "0", "10", "2", "1", "yes")
    assert lines(output.releases_text([])) == ["nothing"]


def test_a_derivation_shows_each_limit_and_what_bound_it() -> None:
    evidence = {"bound_by": "cap", "estimated": True}
    made = policy(7, limit("a", "requests", 1_500, evidence=evidence), limit("b", "concurrency", 4))
    said = lines(quotas.derivation_text(Derivation(made, True, "derived from 2 hours", 2, {})))
    assert said[0] == "policy 7: derived from 2 hours"
    assert [cells(line) for line in said[3:]] == [
        ["a", "requests", "1,500", "60", "1,500", "cap", "yes"],
        ["b", "concurrency", "4", "1", "4", "", ""],
    ]
    nothing = Derivation(None, False, "no hour is fit", 0, {})
    assert lines(quotas.derivation_text(nothing)) == ["no hour is fit"]
    assert quotas.derivation(nothing) == {
        "new": False,
        "message": "no hour is fit",
        "fit_hours": 0,
        "policy": None,
        "objections": [],
    }
    assert quotas.derivation(Derivation(made, True, "", 2, {}))["policy"]["epoch"] == 7


def test_quarantined_lines_say_where_why_and_how_they_begin() -> None:
    head, _, row = lines(_quarantined("x" * 1_000), 60)
    assert cells(head) == ["where", "reason", "bytes", "begins"]
    where, reason, length, begins = cells(row)
    assert (where, reason, length) == ("t/0/7", "syntax", "12,345")
    assert set(begins) == {"x", "\u2026"}


def test_progress_off_a_terminal_is_a_line_a_stage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with Bars() as bars:
        bars.begin("land [red]a", 12_345, "bytes")
        bars.advance(5)
        bars.note("[red]half")
        bars.end()
        bars.begin("audit")
    assert capsys.readouterr() == ("", "land [red]a: 12,345 bytes\n  land [red]a: [red]half\naudit\n")


def test_progress_spells_out_what_a_terminal_would_obey(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with Bars() as bars:
        bars.begin(f"land {HOSTILE[:6]}", 1, "bytes")
    assert capsys.readouterr().err == "land \\x1b[2J\\x1b]: 1 bytes\n"


def test_progress_on_a_terminal_takes_no_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with Bars() as bars:
        bars.begin("land [red]a", 1, "bytes")
        bars.end()
    assert "[red]" in capsys.readouterr().err
