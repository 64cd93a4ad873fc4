"""The LiteLLM sink, what both modes share: which limits it holds, to the unit, and which it refuses."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.quotas.policy import Policy, Rate, Scope
from quotaloop.quotas.target import TOKEN_CLASSES
from quotaloop.sinks.litellm.limits import held
from quotaloop.sinks.litellm.sink import LiteLLMSink
from quotaloop.sinks.sink import Sink
from tests.sinks.pushes import GOOD, limit, policy
from tests.sinks.pushes import sink as made

KEYS = {"acme": "sk-of-acme", "globex": hashlib.sha256(b"sk-of-globex").hexdigest(), "idle": "sk-of-idle"}
MODEL = Scope(model="gpt-5", api_version="*")
API = {"mode": "api", "url": "http://127.0.0.1:9", "api_key_env": "NOT_READ"}


def sink(folder: Path, **changes: Any) -> Sink:
    return made(
        LiteLLMSink, folder, **{"tenants": KEYS, "mode": "file", "path": str(folder / "limits.json"), **changes}
    )


def fields(folder: Path, pushed: Policy, **changes: Any) -> dict[str, dict[str, Any]]:
    return held(sink(folder, **changes).configuration, pushed, changes.get("window_seconds", 60))


def test_each_tenant_gets_its_limits_and_the_safe_capacity_of_other_kinds(tmp_path: Path) -> None:
    no_models = {"model_rpm_limit": {}, "model_tpm_limit": {}}
    assert fields(tmp_path, GOOD) == {
        "acme": {"rpm_limit": 50, "tpm_limit": 9_000, "max_parallel_requests": 1, **no_models},
        "globex": {"rpm_limit": 20, "tpm_limit": 1, "max_parallel_requests": 1, **no_models},
        "idle": {"rpm_limit": 1, "tpm_limit": 1, "max_parallel_requests": 1, **no_models},
    }


def test_a_limit_of_a_model_is_beside_the_one_of_all(tmp_path: Path) -> None:
    pushed = policy(
        7,
        limit("acme", "requests", 50),
        limit("acme", "requests", 5, scope=MODEL),
        limit("acme", "tokens", 900),
        limit("acme", "tokens", 0, scope=MODEL),
        limit("acme", "compute", 9),
    )
    assert fields(tmp_path, pushed)["acme"] == {
        "rpm_limit": 50,
        "tpm_limit": 900,
        "max_parallel_requests": 1,
        "model_rpm_limit": {"gpt-5": 5},
        "model_tpm_limit": {"gpt-5": 0},
    }


def test_kinds_that_are_not_limited_there_are_left_alone(tmp_path: Path) -> None:
    target = {"algorithms": {"requests": "window_from_first"}}
    assert fields(tmp_path, GOOD, target=target)["acme"] == {"rpm_limit": 50, "model_rpm_limit": {}}


def test_a_window_of_another_length_holds_limits_of_that_length(tmp_path: Path) -> None:
    safe = {kind: Rate(limit=1, per_seconds=10, burst=1) for kind in GOOD.safe_capacity}
    pushed = replace(policy(7, limit("acme", "requests", 5, per_seconds=10)), safe_capacity=safe)
    assert fields(tmp_path, pushed, window_seconds=10)["acme"]["rpm_limit"] == 5


@pytest.mark.parametrize("mode", ["file", "api"])
@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (limit("initech", "requests", 5), "initech, requests .*: 5 per 60 s: the option tenants does not say"),
        (limit("acme", "requests", 3_600, per_seconds=3_600), "3600 per 3600 s: LiteLLM counts over 60 s"),
        (limit("acme", "tokens", 7, per_seconds=1), "acme, tokens .* 7 per 1 s: LiteLLM counts over 60 s"),
        (limit("acme", "requests", 5, scope=Scope(model="*", api_version="v1")), "no limits by version"),
        (limit("acme", "requests", 5, scope=Scope(model="gpt-5", api_version="v1")), "no limits by version"),
        (limit("acme", "concurrency", 5, scope=MODEL), "does not limit concurrency by model"),
        (limit("acme", "requests", 5, scope=MODEL), "model gpt-5.*would not limit its other models"),
        (limit("acme", "concurrency", 2**31), "at most 2147483647"),
    ],
)
def test_a_limit_that_cannot_be_held_is_refused_with_tenant_kind_number_and_reason(
    tmp_path: Path, mode: str, refused: Any, reason: str
) -> None:
    options = API if mode == "api" else {"mode": "file", "path": str(tmp_path / "limits.json")}
    others = [limit("acme", "tokens", 900)] if refused.kind != "tokens" else []
    with pytest.raises(CheckRefused, match=reason):
        made(LiteLLMSink, tmp_path, tenants=KEYS, **options).publish(policy(8, *others, refused))
    assert not (tmp_path / "limits.json").exists()


def test_a_safe_capacity_that_cannot_be_held_is_refused(tmp_path: Path) -> None:
    safe = {**GOOD.safe_capacity, "tokens": Rate(limit=9, per_seconds=1, burst=9)}
    with pytest.raises(CheckRefused, match="safe_capacity, tokens: 9 per 1 s: LiteLLM counts over 60 s"):
        sink(tmp_path).check(replace(GOOD, safe_capacity=safe))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "database"}, "mode is api or file, not 'database'"),
        ({"url": "http://127.0.0.1:9"}, "url: an option of mode api"),
        ({"path": "limits.json"}, "path is an absolute one"),
        ({"window_seconds": 0.5}, "window_seconds is a whole number above 0, not 0.5"),
        ({"tenants": {}}, "tenants is needed"),
        ({"tenants": {"acme": "acme"}}, "acme is a key, which begins with sk-, or its SHA-256"),
        ({"tenants": {"a": "sk-x", "b": hashlib.sha256(b"sk-x").hexdigest()}}, "two tenants have the same key"),
        ({"target": {"token_classes": frozenset(TOKEN_CLASSES)}}, "token_classes: LiteLLM counts"),
        ({**API, "path": "/limits.json"}, "path is an option of mode file"),
    ],
)
def test_options_that_contradict_one_another_are_a_wrong_call(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        sink(tmp_path, **changes)
    assert "sk-x" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"of": "user"}, "of is key or team, not 'user'"),
        ({"of": "team"}, "no concurrency of teams"),
        ({"url": "127.0.0.1:9"}, "url is http"),
        ({"url": "http://me:secret@127.0.0.1:9"}, "url is http"),
        ({"api_key_file": "/admin"}, "one of them"),
        ({"tenants": {"a": "sk-x", "b": hashlib.sha256(b"sk-x").hexdigest()}}, "two tenants have the same key"),
    ],
)
def test_options_of_the_api_are_checked_before_anything_is_asked(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        made(LiteLLMSink, tmp_path, **{"tenants": KEYS, **API, **changes})
    assert "secret" not in str(raised.value)
    assert "sk-x" not in str(raised.value)
