"""Tools that look answer with the numbers of the command line, over both transports."""

from __future__ import annotations

import pytest
from mcp import Client

from jobs.work import Work
from quotaloop.cli.mcp.comparing import compare_releases
from quotaloop.cli.mcp.desk import text_of
from quotaloop.cli.mcp.server import made as server
from quotaloop.settings import Settings
from tests.cli.conftest import Call
from tests.cli.mcp.served import Asked, connected, text
from tests.cli.mcp.stores import SINKS
from tests.marts.handmade import Handmade

TOOLS = ["usage", "latency", "why_limit", "what_if", "compare_releases", "sql"]
REPLAYED = {"sink": "edge", "since": "2026-03-02T00:00:00Z", "until": "2026-03-02T01:00:00Z"}


def cells(document: dict[str, object], *names: str) -> list[tuple[object, ...]]:
    """Some columns of an answer."""
    columns, rows = document["columns"], document["rows"]
    assert isinstance(columns, list)
    assert isinstance(rows, list)
    return [tuple(row[columns.index(name)] for name in names) for row in rows]


def test_the_tools_only_look_and_say_what_they_answer(asked_by_both: Asked) -> None:
    tools = {tool.name: tool for tool in asked_by_both.listed("tools")}
    assert list(tools) == TOOLS
    assert {(tool.annotations.read_only_hint, tool.annotations.destructive_hint) for tool in tools.values()} == {
        (True, False)
    }
    assert all(tool.output_schema["type"] == "object" for tool in tools.values())
    assert all(len(tool.description) > 40 for tool in tools.values())
    undescribed = [
        (tool.name, name)
        for tool in tools.values()
        for name, schema in tool.input_schema["properties"].items()
        if not schema.get("description")
    ]
    assert undescribed == []


def test_usage_is_summed_by_tenant(asked_by_both: Asked) -> None:
    found = asked_by_both.answer("usage")
    assert found["release"] == 2
    assert cells(found, "tenant", "requests", "ok", "denied", "total_tokens", "gpu_ms") == [
        ("a", 6, 5, 1, 49, 0.6),
        ("b", 12, 12, 0, 120, 0.0),
    ]


def test_usage_is_what_sql_of_the_command_line_sums(asked: Asked, call: Call) -> None:
    statement = """SELECT hour::DATE AS day, api_version, sum(requests)::BIGINT, sum(total_tokens)::BIGINT
        FROM usage_hourly GROUP BY ALL ORDER BY ALL"""
    rows = call("sql", statement, "--json").json["rows"]
    found = asked.answer("usage", by=["day", "api_version"])
    assert [list(row) for row in cells(found, "day", "api_version", "requests", "total_tokens")] == rows
    assert rows == [["2026-03-02", "v1", 10, 90], ["2026-03-02", "v2", 1, 9], ["2026-03-03", "v1", 7, 70]]


@pytest.mark.parametrize(
    ("span", "requests"),
    [
        ({"since": "2026-03-02T01:00:00Z", "until": "2026-03-03"}, [("a", 2), ("b", 5)]),
        ({"since": "2026-03-03"}, [("b", 7)]),
        ({"until": "2026-03-02T02:00:00+01:00"}, [("a", 4)]),
        ({"tenant": "b"}, [("b", 12)]),
        ({"tenant": "b' OR true --"}, []),
    ],
)
def test_usage_is_of_the_hours_that_begin_in_the_span(
    span: dict[str, str], requests: list[tuple[str, int]], asked: Asked
) -> None:
    assert cells(asked.answer("usage", **span), "tenant", "requests") == requests


def test_usage_of_all_together_is_one_row(asked: Asked) -> None:
    assert cells(asked.answer("usage", by=[]), "requests", "bytes_in") == [(18, 0)]


def test_latency_merges_histograms_and_leaves_errors_out(asked: Asked) -> None:
    found = asked.answer("latency")
    assert cells(found, "api_version", "metric", "count", "min_ms", "max_ms") == [
        ("v1", "duration", 5, 1.0, 4.0),
        ("v2", "duration", 1, 9.0, 9.0),
    ]
    (p50, p90), other = cells(found, "p50_ms", "p90_ms")
    assert (p50, p90) == (pytest.approx(1.0, rel=0.01), pytest.approx(4.0, rel=0.01))  # ranks 3 and 5 of 5
    assert other == (9.0, 9.0)


def test_latency_of_one_hour_is_that_of_the_summary(asked: Asked, call: Call) -> None:
    statement = (
        """SELECT "count", p50_ms, p99_ms FROM latency_summary WHERE api_version = 'v1' ORDER BY hour DESC LIMIT 1"""
    )
    (row,) = call("sql", statement, "--json").json["rows"]
    found = asked.answer("latency", api_version="v1", model="m", since="2026-03-02T01:00:00Z")
    assert [list(values) for values in cells(found, "count", "p50_ms", "p99_ms")] == [row] == [[2, 4.0, 4.0]]
    assert asked.answer("latency", api_version="v1", model="n")["rows"] == []


def test_why_is_what_the_command_line_tells(asked: Asked, call: Call) -> None:
    found = asked.tool("why_limit", tenant="a")
    assert found.structured_content == call("quotas", "why", "a", "--json").json
    assert text(found) == "\n".join(line.rstrip() for line in call("quotas", "why", "a").out.splitlines())
    (limit,) = asked.answer("why_limit", tenant="a")["limits"]
    assert (limit["limit"], [row["limit"] for row in limit["changes"]]) == (1_000, [500, 1_000])


def test_what_if_is_the_backtest_by_tenant(asked: Asked, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked.tool("what_if", changes=["tenant=a,limit=20,burst=20"], **REPLAYED)
    document = found.structured_content
    assert document is not None
    assert (document["policy"], document["in_force"], document["release"], document["hours"]) == (2, 2, 2, 1)
    table = document["sinks"]["edge"]
    # three requests of 10 tokens a minute, of which a window of 20 lets two through
    assert cells(table, "tenant", "attempts", "admitted", "denied", "denied_tokens") == [("a", 9, 6, 3, 30)]
    assert cells(table, "in_force_admitted", "in_force_denied", "was_admitted") == [(9, 0, 9)]
    monkeypatch.setenv("QUOTALOOP_SINKS", SINKS)
    flags = [word for name, value in REPLAYED.items() for word in (f"--{name}", value)]
    words = ("quotas", "backtest", "--what-if", "tenant=a,limit=20,burst=20", *flags)
    (row,) = call(*words, "--json").json["sinks"]["edge"]["rows"]
    assert table["rows"] == [["a", *row[3:]]]
    assert text(found) == "\n".join(line.rstrip() for line in call(*words).out.splitlines())


def test_releases_differ_in_days_and_usage(asked: Asked) -> None:
    found = asked.answer("compare_releases", first=1, second=2)
    assert (found["checks"], found["raw"], found["unread"], found["truncated"]) == ([], [], None, False)
    (table,) = found["tables"]
    assert table == {
        "date": "2026-03-03",
        "table": "usage_hourly",
        "rows_first": 0,
        "rows_second": 1,
        "files_same": 0,
        "files_first": 0,
        "files_second": 1,
    }
    assert found["usage"] == [
        {"tenant": "b", "requests_first": 5, "requests_second": 12, "tokens_first": 50, "tokens_second": 120}
    ]


def test_tenants_beyond_the_cap_are_left_out_and_said_to_be(
    looked_at: Handmade, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {f"{number:04d}": (1, 1) for number in range(1001)}
    sides = iter([{}, many, {}, dict(list(many.items())[1:])])
    monkeypatch.setitem(compare_releases.__globals__, "_totals", lambda *_: next(sides))
    for truncated in (True, False):
        found = compare_releases(Work(Settings(store=looked_at.store.url)), 1, 2)
        assert len(found.document["usage"]) == 1000
        assert found.document["truncated"] is truncated
        assert ("there are more tables or tenants than these 1000" in text_of(found.shown)) is truncated


def test_a_release_does_not_differ_from_itself(asked: Asked) -> None:
    found = asked.tool("compare_releases", first=2, second=2)
    assert text(found).splitlines() == [
        "release 2 and release 2",
        "checks: the same",
        "raw: the same",
        "tables: the same",
        "usage: the same",
    ]


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("usage", {"since": "yesterday"}, "'yesterday' is not a time"),
        ("latency", {"until": "2026-03-02T00:00:00"}, "has no time zone"),
        ("what_if", {"changes": ["tenant=a"]}, "--what-if tenant=a: write tenant=NAME,limit=NUMBER"),
        ("what_if", {"changes": [], "sink": "none"}, "there is no"),
        ("what_if", {"changes": ["tenant=sk-abcDEF0123456789abcdef,limit=1,kind=x"]}, "tenant=[redacted],limit=1"),
        ("compare_releases", {"first": 1, "second": 9}, "there is no release 9"),
    ],
)
def test_an_error_is_one_line_without_a_credential(
    tool: str, arguments: dict[str, object], says: str, asked: Asked
) -> None:
    found = asked.error(tool, **arguments)
    assert says in found
    assert "sk-" not in found
    assert "Traceback" not in found


def test_of_a_crash_the_client_is_told_nothing_but_that_it_was_one(
    looked_at: Handmade, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("what nobody should read")

    monkeypatch.setattr("jobs.why.why", crash)
    with connected(Client(server(Settings(store=looked_at.store.url), allow_publish=False))) as here:
        assert here.error("why_limit", tenant="a") == "Error executing tool why_limit"


def test_arguments_of_another_type_are_refused(asked: Asked) -> None:
    assert asked.tool("usage", by=["tenant; DROP TABLE x"]).is_error
    assert asked.tool("compare_releases", first="one", second=2).is_error
    assert asked.tool("nothing_of_this_name").is_error
