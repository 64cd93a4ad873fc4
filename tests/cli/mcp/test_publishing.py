"""Live limits change only through a server that was started so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcp import Client

from quotaloop.cli.mcp.server import made as server
from quotaloop.errors import ServiceUnreachable
from quotaloop.quotas.policy import newest
from quotaloop.settings import Settings
from quotaloop.sinks.file import FileSink
from tests.cli.mcp.conftest import url
from tests.cli.mcp.served import Asked, by_stdio, connected, text
from tests.cli.mcp.stores import SINKS, stored
from tests.marts.handmade import Handmade

PUBLISHING = ["publish_policy", "roll_back_policy"]


@pytest.fixture
def own(tmp_path: Path) -> Handmade:
    """A store that may change."""
    return stored(tmp_path / "own store")


@pytest.fixture
def publishing(own: Handmade) -> Iterator[Asked]:
    """A client of a server in this process that may publish."""
    with connected(Client(server(Settings(store=own.store.url, sinks=SINKS), allow_publish=True))) as asked:
        yield asked


def test_without_the_flag_nothing_can_be_published(asked: Asked, looked_at: Handmade) -> None:
    before = [info.path for info in looked_at.store.files("")]
    for name, arguments in zip(PUBLISHING, ({}, {"epoch": 1}), strict=True):
        assert name not in asked.names("tools")
        assert "Unknown tool" in asked.error(name, **arguments)
    assert [info.path for info in looked_at.store.files("")] == before
    assert not looked_at.store.exists("published/policy.json")


def test_looking_changes_nothing(own: Handmade) -> None:
    before = {info.path: own.store.read(info.path) for info in own.store.files("")}
    with connected(Client(server(Settings(store=own.store.url), allow_publish=False))) as asked:
        asked.answer("usage")
        asked.answer("why_limit", tenant="a")
        asked.answer("what_if", changes=["tenant=a,limit=9"], since="2026-03-02T00:00:00Z")
        asked.answer("compare_releases", first=1, second=2)
    assert {info.path: own.store.read(info.path) for info in own.store.files("")} == before


def test_with_the_flag_tools_say_that_they_are_destructive(own: Handmade) -> None:
    with by_stdio(url(own), "--allow-publish") as asked:
        tools = {tool.name: tool.annotations for tool in asked.listed("tools")}
        assert list(tools)[-2:] == PUBLISHING
        assert [(tools[name].destructive_hint, tools[name].read_only_hint) for name in PUBLISHING] == [
            (True, False)
        ] * 2
        assert asked.answer("publish_policy")["sinks"] == [
            {"sink": "file", "in_force": True, "drift": [], "error": None}
        ]
    assert own.store.read("published/policy.json") == own.store.read("policies/0000000002.json")


def test_a_policy_is_put_into_every_sink(publishing: Asked, own: Handmade) -> None:
    found = publishing.answer("publish_policy")
    assert (found["policy"], [(sink["sink"], sink["in_force"]) for sink in found["sinks"]]) == (
        2,
        [("edge", True), ("file", True)],
    )
    assert json.loads(own.store.read("edge.json"))["epoch"] == 2
    assert publishing.resource("quotaloop://policy/current")["published"] is True


def test_a_rollback_has_the_limits_of_the_named_policy_under_a_new_epoch(publishing: Asked, own: Handmade) -> None:
    assert publishing.answer("roll_back_policy", epoch=1)["policy"] == 3
    policy = json.loads(own.store.read("published/policy.json"))
    assert (policy["epoch"], policy["limits"][0]["limit"]) == (3, 500)
    assert publishing.resource("quotaloop://policy/current")["pinned"] is True
    assert publishing.error("roll_back_policy", epoch=9).startswith("there is no policy 9")
    found = newest(own.store)
    assert found is not None
    assert found.epoch == 3


def test_a_sink_that_fails_is_an_error_beside_what_became_of_the_others(
    publishing: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = FileSink.publish

    def fail(sink: FileSink, policy: object) -> None:
        if sink.configuration.name == "edge":
            raise ServiceUnreachable("edge does not answer to\nBearer abcdefghijklmnop0123")
        publish(sink, policy)  # type: ignore[arg-type]

    monkeypatch.setattr(FileSink, "publish", fail)
    found = publishing.tool("publish_policy")
    assert found.is_error
    assert text(found).splitlines()[-1] == "edge does not answer to [redacted]"
    assert found.structured_content is not None
    assert [(sink["sink"], sink["in_force"]) for sink in found.structured_content["sinks"]] == [
        ("edge", False),
        ("file", True),
    ]
    assert "abcdefghijklmnop0123" not in found.model_dump_json()


def test_without_a_policy_there_is_nothing_to_publish(tmp_path: Path) -> None:
    settings = Settings(store=f"file:{tmp_path}/none")
    with connected(Client(server(settings, allow_publish=True))) as asked:
        assert asked.answer("publish_policy") == {"policy": None, "sinks": []}
        assert asked.error("roll_back_policy", epoch=1) == "there is no policy to go back from"
