"""The Kong sink: a decK file that the plugin's schema accepts, whole or refused, read back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.quotas.policy import Policy, Rate, Scope
from quotaloop.sinks.kong import KongSink
from quotaloop.sinks.sink import Sink
from tests.sinks.pushes import GOOD, REFUSED, limit, policy
from tests.sinks.pushes import sink as pushed_to

# Of the plugin as Kong Gateway 3.11 documents it, what the sink may write; Lua's numbers are exact up to 2**53.
WHOLE = {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}
LIMITING = {
    "type": "object",
    "additionalProperties": False,
    "required": ["identifier", "llm_providers", "strategy", "tokens_count_strategy", "window_type"],
    "properties": {
        "identifier": {"enum": ["ip", "credential", "consumer", "service", "header", "path", "consumer-group"]},
        "llm_providers": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "limit", "window_size"],
                "properties": {
                    "name": {
                        "enum": [
                            *("openai", "azure", "anthropic", "cohere", "mistral", "llama2", "bedrock", "gemini"),
                            *("huggingface", "requestPrompt"),
                        ]
                    },
                    "limit": {"type": "array", "minItems": 1, "items": WHOLE},
                    "window_size": {"type": "array", "minItems": 1, "items": WHOLE},
                },
            },
        },
        "strategy": {"enum": ["local", "cluster", "redis"]},
        "sync_rate": {"type": "number", "minimum": 0},
        "tokens_count_strategy": {"enum": ["total_tokens", "prompt_tokens", "completion_tokens", "cost"]},
        "window_type": {"enum": ["fixed", "sliding"]},
        "redis": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"host": {"type": "string"}, "port": {"type": "integer", "minimum": 0, "maximum": 65_535}},
        },
    },
    "allOf": [
        {"if": {"properties": {"strategy": {"const": "local"}}}, "then": {"not": {"required": ["sync_rate"]}}},
        {"if": {"properties": {"strategy": {"const": "redis"}}}, "then": {"required": ["redis"]}},
    ],
}
TERMINATION = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"status_code": {"type": "integer", "minimum": 100, "maximum": 599}, "message": {"type": "string"}},
}
PLUGIN = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "config", "tags"],
    "properties": {
        "name": {"enum": ["ai-rate-limiting-advanced", "request-termination"]},
        "consumer": {"type": "string", "minLength": 1},
        "config": {"type": "object"},
        "tags": {"type": "array", "uniqueItems": True, "items": {"type": "string", "minLength": 1}},
    },
    "if": {"properties": {"name": {"const": "request-termination"}}},
    "then": {"properties": {"config": TERMINATION}, "required": ["consumer"]},
    "else": {"properties": {"config": LIMITING}},
}
DECK = {
    "type": "object",
    "additionalProperties": False,
    "required": ["_format_version", "_info", "plugins"],
    "properties": {
        "_format_version": {"const": "3.0"},
        "_info": {
            "type": "object",
            "additionalProperties": False,
            "required": ["select_tags"],
            "properties": {"select_tags": {"type": "array"}, "default_lookup_tags": {"type": "object"}},
        },
        "plugins": {"type": "array", "items": PLUGIN},
    },
}


def made(folder: Path, **changes: Any) -> Sink:
    given = {"path": str(folder / "kong.yaml"), "provider": "openai", "tenants": {"acme": "acme-crm"}}
    return pushed_to(KongSink, folder, **{**given, **changes})


@pytest.fixture
def sink(tmp_path: Path) -> Sink:
    return made(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kong.yaml"


def plugins(file: Path) -> dict[str | None, dict[str, Any]]:
    """By consumer, of a file that the schema accepts."""
    document = json.loads(file.read_bytes())
    jsonschema.Draft202012Validator(DECK).validate(document)
    assert all(
        len(one["limit"]) == len(one["window_size"])
        for plugin in document["plugins"]
        for one in plugin["config"].get("llm_providers", ())
    )
    return {plugin.get("consumer"): plugin for plugin in document["plugins"]}


def test_each_consumer_has_its_tokens_and_all_others_the_safe_capacity(sink: Sink, file: Path) -> None:
    sink.publish(GOOD)
    found = plugins(file)
    assert sorted(found, key=str) == [None, "acme-crm"]
    assert found["acme-crm"] == {
        "name": "ai-rate-limiting-advanced",
        "consumer": "acme-crm",
        "tags": ["quotaloop", "quotaloop-epoch-7"],
        "config": {
            "identifier": "consumer",
            "llm_providers": [{"name": "openai", "limit": [9_000], "window_size": [60]}],
            "strategy": "local",
            "tokens_count_strategy": "total_tokens",
            "window_type": "fixed",
        },
    }
    assert found[None]["config"]["llm_providers"] == [{"name": "openai", "limit": [1], "window_size": [60]}]
    assert json.loads(file.read_bytes())["_info"] == {"select_tags": ["quotaloop"]}
    assert (sink.epoch(), sink.drift(GOOD)) == (7, [])


def test_a_reader_of_yaml_reads_the_same(sink: Sink, file: Path) -> None:
    yaml = pytest.importorskip("yaml")
    names = [limit(f"t{number}", "tokens", number) for number in range(1, 5)]
    sink.publish(
        policy(7, *names, limit("no", "tokens", 2**53 - 1), limit("1e3", "tokens", 8), limit("007", "tokens", 9))
    )
    assert yaml.safe_load(file.read_text()) == json.loads(file.read_bytes())
    assert set(plugins(file)) == {None, "007", "1e3", "no", "t1", "t2", "t3", "t4"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"target": {"algorithms": {"tokens": "sliding_window"}}}, {"window_type": "sliding"}),
        (
            {"target": {"token_classes": frozenset({"output", "reasoning"})}},
            {"tokens_count_strategy": "completion_tokens"},
        ),
        (
            {"target": {"token_classes": frozenset({"input", "cache_read", "cache_write"})}},
            {"tokens_count_strategy": "prompt_tokens"},
        ),
        ({"strategy": "cluster", "sync_rate": 0.5}, {"strategy": "cluster", "sync_rate": 0.5}),
        (
            {"strategy": "redis", "redis": {"host": "10.0.0.7", "port": 6379}},
            {"strategy": "redis", "sync_rate": 0, "redis": {"host": "10.0.0.7", "port": 6379}},
        ),
    ],
)
def test_how_it_counts_is_in_the_plugin(
    tmp_path: Path, file: Path, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    made(tmp_path, **changes).publish(GOOD)
    for plugin in plugins(file).values():
        assert expected.items() <= plugin["config"].items()


def test_deck_is_told_where_to_find_the_consumers(tmp_path: Path, file: Path) -> None:
    made(tmp_path, consumer_tag="crm").publish(GOOD)
    assert plugins(file)
    assert json.loads(file.read_bytes())["_info"]["default_lookup_tags"] == {"consumers": ["crm"]}


def test_a_window_of_whole_seconds_is_written_as_it_is(sink: Sink, file: Path) -> None:
    safe = {**GOOD.safe_capacity, "tokens": Rate(limit=7, per_seconds=3_600, burst=7)}
    sink.publish(replace(policy(7, limit("acme", "tokens", 5, per_seconds=1)), safe_capacity=safe))
    found = {name: plugin["config"]["llm_providers"][0] for name, plugin in plugins(file).items()}
    assert found == {
        None: {"name": "openai", "limit": [7], "window_size": [3_600]},
        "acme-crm": {"name": "openai", "limit": [5], "window_size": [1]},
    }


def test_a_suspended_consumer_is_answered_403(sink: Sink, file: Path) -> None:
    sink.publish(policy(7, limit("acme", "tokens", 0)))
    plugin = plugins(file)["acme-crm"]
    assert (plugin["name"], plugin["config"]["status_code"]) == ("request-termination", 403)


@pytest.mark.parametrize("refused", REFUSED)
def test_a_policy_that_is_not_valid_or_older_leaves_the_last_good_one(sink: Sink, refused: Policy) -> None:
    sink.publish(GOOD)
    with pytest.raises(CheckRefused, match="refused whole"):
        sink.publish(refused)
    assert sink.drift(GOOD) == []


@pytest.mark.parametrize("scope", [Scope(model="gpt-5", api_version="*"), Scope(model="*", api_version="v1")])
def test_a_limit_of_a_model_or_version_is_refused(sink: Sink, file: Path, scope: Scope) -> None:
    with pytest.raises(CheckRefused, match=r"acme, tokens \(model .*\): 5 per 60 s: .* by provider"):
        sink.publish(policy(7, limit("acme", "tokens", 5, scope=scope)))
    assert not file.exists()
    sink.publish(policy(7, limit("acme", "requests", 5, scope=scope)))  # a kind that Kong is not told of


def test_two_tenants_that_are_one_consumer_are_refused(tmp_path: Path, file: Path) -> None:
    with pytest.raises(CheckRefused, match=r"globex, tokens .*: 6 per 60 s: consumer globex is another tenant's too"):
        made(tmp_path, tenants={"acme": "globex"}).publish(
            policy(7, limit("acme", "tokens", 5), limit("globex", "tokens", 6))
        )
    assert not file.exists()


def test_publishing_twice_is_the_same_as_once(sink: Sink, file: Path) -> None:
    sink.publish(GOOD)
    before = file.stat().st_ino
    sink.publish(GOOD)
    assert file.stat().st_ino == before


def test_drift_names_consumers(sink: Sink, file: Path) -> None:
    assert (sink.epoch(), sink.drift(GOOD)) == (None, [f"{file} is missing"])
    sink.publish(policy(7, limit("acme", "tokens", 5), limit("globex", "tokens", 5)))
    assert sink.drift(GOOD) == ["consumer acme-crm is not as published", "consumer globex is not as published"]
    sink.publish(GOOD)
    file.write_bytes(file.read_bytes().replace(b"9000", b"90000"))
    assert sink.drift(GOOD) == ["consumer acme-crm is not as published"]
    sink.publish(GOOD)
    file.write_bytes(file.read_bytes() + b"\n")
    assert sink.drift(GOOD) == [f"{file} is not policy 7 as published, somebody changed it"]
    assert sink.drift(replace(GOOD, epoch=8)) == [f"{file} holds policy 7"]
    sink.publish(GOOD)
    assert sink.drift(GOOD) == []


def test_drift_stops_at_the_first_hundred(sink: Sink) -> None:
    sink.publish(policy(7, *(limit(f"t{number}", "tokens", 5) for number in range(120))))
    assert len(sink.drift(policy(7, *(limit(f"t{number}", "tokens", 6) for number in range(120))))) == 100


@pytest.mark.parametrize("damaged", [b"{", b"[]", b"{}", b'{"plugins": []}', b'{"plugins": [{}]}', b"plugins: []"])
def test_a_file_of_somebody_else_is_not_written_over(sink: Sink, file: Path, damaged: bytes) -> None:
    file.write_bytes(damaged)
    with pytest.raises(CheckRefused, match="remove it and publish again"):
        sink.publish(GOOD)
    assert file.read_bytes() == damaged
    assert sink.drift(GOOD)[0].startswith(f"{file} is not of this sink")


def test_a_push_that_is_killed_leaves_the_file_before(sink: Sink, tmp_path: Path) -> None:
    sink.publish(GOOD)
    code = f"""
from pathlib import Path
from tests.sinks.test_kong import GOOD, made, replace
made(Path({str(tmp_path)!r})).publish(replace(GOOD, epoch=8))
"""
    killed = {"QUOTALOOP_KILL_AT": "kong:checked", "PYTHONPATH": ".:src"}
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], env=killed, cwd=root, check=False).returncode == -9
    assert sink.drift(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "kong.yaml"}, "path is an absolute one"),
        ({"provider": None}, "provider is one of"),
        ({"provider": ["openai"]}, "provider is one of"),
        ({"strategy": "memory"}, "strategy is one of"),
        ({"sync_rate": 1}, "no sync_rate"),
        ({"strategy": "cluster", "sync_rate": float("nan")}, "sync_rate is seconds"),
        ({"strategy": "cluster", "sync_rate": True}, "sync_rate is seconds"),
        ({"strategy": "redis"}, "redis goes with strategy redis"),
        ({"strategy": "redis", "redis": {"host": "h", "password": "p"}}, "redis is {host"),
        ({"consumer_tag": 7}, "consumer_tag is a text"),
        ({"target": {"token_classes": frozenset({"input"})}}, "token_classes are all"),
    ],
)
def test_options_that_cannot_be_are_a_wrong_call(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        made(tmp_path, **changes)
