"""What clients read: the current release, the tables as they are declared, the current policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from quotaloop.cli.mcp.server import made as server
from quotaloop.marts.tables import PUBLISHED
from quotaloop.settings import Settings
from tests.cli.conftest import Call
from tests.cli.mcp.served import Asked, connected
from tests.cli.mcp.stores import stored
from tests.marts.handmade import Handmade


def test_resources_are_listed(asked_by_both: Asked) -> None:
    assert [str(item.uri) for item in asked_by_both.listed("resources")] == [
        "quotaloop://release/current",
        "quotaloop://tables",
        "quotaloop://policy/current",
    ]
    assert [item.uri_template for item in asked_by_both.listed("resource_templates")] == ["quotaloop://tables/{name}"]


def test_the_current_release_tells_its_checks_and_hours(asked_by_both: Asked, call: Call) -> None:
    found = asked_by_both.resource("quotaloop://release/current")
    shown = call("release", "show", "--json").json
    for name in ("number", "parent", "checks", "raw", "code", "waivers"):
        assert found[name] == shown[name]
    assert (found["number"], found["parent"], found["pinned"]) == (2, 1, False)
    assert found["hours"] == {
        "first": "2026-03-02T00:00:00Z",
        "last": "2026-03-03T00:00:00Z",
        "count": 3,
        "counted": {"once": 1, "twice": 2},
        "open": [],
    }


def test_every_table_is_listed_and_described_as_it_is_declared(asked: Asked) -> None:
    listed = asked.resource("quotaloop://tables")["tables"]
    assert [row["name"] for row in listed] == list(PUBLISHED)
    for row in listed:
        table = PUBLISHED[row["name"]]
        assert (row["grain"], row["holds"]) == (list(table.grain), table.doc)
        columns = asked.resource(row["uri"])["columns"]
        assert [(item["name"], item["means"], item["nullable"], item["grain"]) for item in columns] == [
            (column.name, column.doc, column.nullable, column.name in table.grain) for column in table.columns
        ]


def test_a_daily_table_says_what_it_is_made_of(asked: Asked) -> None:
    found = asked.resource("quotaloop://tables/latency_summary_daily")
    columns = {item["name"]: item for item in found["columns"]}
    assert found["made_of"] == "latency_summary"
    assert columns["p99_ms"]["of_the_hours"] == "quantile"
    assert columns["p99_ms"]["means"] == "99 % quantile in ms, from the histogram"
    assert "of_the_hours" not in columns["date"]


@pytest.mark.parametrize("name", ["nothing", "events", "..%2F..%2Fpolicies", "%2Fetc%2Fpasswd"])
def test_a_table_that_is_not_there_is_an_error(name: str, asked: Asked) -> None:
    with pytest.raises(MCPError):
        asked.resource(f"quotaloop://tables/{name}")


def test_the_current_policy_is_the_newest_and_says_whether_it_is_published(asked: Asked, looked_at: Handmade) -> None:
    found = asked.resource("quotaloop://policy/current")
    assert found["policy"] == json.loads(looked_at.store.read("policies/0000000002.json"))
    assert (found["published"], found["pinned"]) == (False, False)


def test_an_empty_store_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with connected(Client(server(Settings(store=f"file:{tmp_path}/none"), allow_publish=False))) as asked:
        for uri, what in (("release/current", "release"), ("policy/current", "policy")):
            with pytest.raises(MCPError, match=f"there is no {what} yet; run `quotaloop run`"):
                asked.resource(f"quotaloop://{uri}")
        for tool, arguments in (("usage", {}), ("sql", {"query": "SELECT 1"}), ("why_limit", {"tenant": "a"})):
            assert asked.error(tool, **arguments).endswith("yet; run `quotaloop run`")
    assert not (tmp_path / "none").exists()


def test_a_server_that_runs_sees_a_new_release(tmp_path: Path) -> None:
    made = stored(tmp_path / "store")
    with connected(Client(server(Settings(store=made.store.url), allow_publish=False))) as asked:
        assert asked.resource("quotaloop://release/current")["number"] == asked.answer("usage")["release"] == 2
        made.publish()
        assert asked.resource("quotaloop://release/current")["number"] == asked.answer("usage")["release"] == 3
