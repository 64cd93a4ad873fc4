"""Sinks as the settings name them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quotaloop.errors import UsageError
from quotaloop.quotas.target import OURS
from quotaloop.settings import Settings, load
from quotaloop.sinks.configured import sinks
from quotaloop.sinks.file import FileSink
from quotaloop.sinks.sink import Sink
from quotaloop.storage.local import LocalStore
from tests.sinks.pushes import GOOD, limit


def made(tmp_path: Path, **tables: Any) -> dict[str, Sink]:
    settings = Settings(sinks=json.dumps(tables))
    return {sink.configuration.name: sink for sink in sinks(settings, LocalStore(tmp_path))}


def test_without_settings_there_is_the_file_that_limiters_read(tmp_path: Path) -> None:
    (sink,) = sinks(Settings(), LocalStore(tmp_path))
    assert isinstance(sink, FileSink)
    assert (sink.configuration.name, sink.configuration.target) == ("file", OURS)


def test_tables_of_the_file_and_json_of_the_environment_are_the_same(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[sinks.edge]\ntype = "file"\nreplicas = 3\nafter = ["tokens"]\n[sinks.edge.tenants]\nacme = "7"\n')
    written = load(config=file, environ={}).sinks
    assert json.loads(written) == {
        "edge": {"type": "file", "replicas": 3, "after": ["tokens"], "tenants": {"acme": "7"}}
    }
    assert load(config=None, environ={"QUOTALOOP_SINKS": written}).sinks == written


def test_how_a_limiter_decides_is_said_in_its_table(tmp_path: Path) -> None:
    found = made(
        tmp_path,
        edge={
            "type": "file",
            "path": "edge.json",
            "algorithms": {"requests": "gcra", "tokens": "fixed_window"},
            "after": ["tokens"],
            "token_classes": ["input", "output"],
            "replicas": 4,
            "tenants": {"acme": "team-7"},
        },
    )
    assert sorted(found) == ["edge", "file"]
    configuration = found["edge"].configuration
    target = configuration.target
    assert target.algorithms == {"requests": "token_bucket", "tokens": "fixed_window"}
    assert (target.after, target.token_classes, target.manner.replicas) == ({"tokens"}, {"input", "output"}, 4)
    assert [configuration.identity(tenant) for tenant in ("acme", "globex")] == ["team-7", "globex"]
    assert {one.kind for one in configuration.limits(GOOD)} == {"requests", "tokens"}
    refusal = str(configuration.refusal(limit("acme", "tokens", 9), "9 is too much"))
    assert refusal == "sink edge cannot hold acme, tokens (model *, version *): 9 is too much"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, "type None is none of"),
        ({"type": "abacus"}, "type 'abacus' is none of"),
        ({"type": "file", "colour": 1}, "colour: not an option of type file"),
        ({"type": "file", "algorithms": {}}, "algorithms is a table of kinds"),
        ({"type": "file", "algorithms": {"money": "gcra"}}, "it cannot limit money"),
        ({"type": "file", "algorithms": {"tokens": "window_from_first"}}, "it counts tokens by fixed_window"),
        ({"type": "file", "after": "tokens"}, "after is a list of"),
        ({"type": "file", "after": ["money"]}, "after is a list of"),
        ({"type": "file", "replicas": 0}, "replicas is a whole number above 0"),
        ({"type": "file", "replicas": True}, "replicas is a whole number above 0"),
        ({"type": "file", "token_classes": []}, "token_classes names at least one"),
        ({"type": "file", "tenants": {"a": 7}}, "tenants is a table of tenants"),
        ({"type": "file", "tenants": {"a": "x", "b": "x"}}, "tenants a and b have the same identity$"),
    ],
)
def test_what_a_table_cannot_say_is_a_wrong_call(tmp_path: Path, table: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=f"sink edge: {told}"):
        made(tmp_path, edge=table)


@pytest.mark.parametrize("text", ["{", "[]", '{"edge": 7}'])
def test_a_setting_that_is_no_table_of_tables_is_a_wrong_call(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="setting sinks is"):
        sinks(Settings(sinks=text), LocalStore(tmp_path))
