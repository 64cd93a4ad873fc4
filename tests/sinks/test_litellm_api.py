"""The LiteLLM sink by the management API: all is checked first, a push cut off is seen and ended, no key is shown."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from quotaloop.errors import CheckRefused, ServiceUnreachable, UsageError
from quotaloop.quotas.policy import Policy
from quotaloop.sinks.litellm.sink import LiteLLMSink
from quotaloop.sinks.sink import Sink
from tests.sinks.litellm_api import ADMIN, LiteLLM, served
from tests.sinks.pushes import GOOD, REFUSED, limit, policy
from tests.sinks.pushes import sink as made
from tests.sinks.test_litellm import KEYS, MODEL

ROOT = Path(__file__).resolve().parents[2]
HASHES = {tenant: hashlib.sha256(f"sk-of-{tenant}".encode()).hexdigest() for tenant in KEYS}
NEWER = replace(GOOD, epoch=8, limits=(limit("acme", "requests", 60), limit("idle", "tokens", 5)))
TEAMS = {"acme": "team-7", "globex": "team-8", "idle": "team-9"}
RATES = {"requests": "window_from_first", "tokens": "window_from_first"}


@pytest.fixture(autouse=True)
def admin_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_ADMIN_OF_TESTS", ADMIN)


@pytest.fixture
def api() -> Iterator[LiteLLM]:
    with served(LiteLLM()) as server:
        for name in (*HASHES.values(), *TEAMS.values()):
            server.add(name, metadata={"owner": "crm"})
        yield server


def keys(folder: Path, api: LiteLLM, **changes: Any) -> Sink:
    options = {"mode": "api", "url": api.url + "/", "api_key_env": "LITELLM_ADMIN_OF_TESTS"}
    return made(LiteLLMSink, folder, **{"tenants": KEYS, **options, **changes})


def teams(folder: Path, api: LiteLLM) -> Sink:
    return keys(folder, api, of="team", tenants=TEAMS, target={"algorithms": RATES})


@pytest.fixture(params=[keys, teams], ids=["key", "team"])
def sink(request: pytest.FixtureRequest, tmp_path: Path, api: LiteLLM) -> Sink:
    found: Sink = request.param(tmp_path, api)
    return found


def test_each_key_is_updated_once_and_reads_back(tmp_path: Path, api: LiteLLM) -> None:
    sink = keys(tmp_path, api)
    assert sink.epoch() is None
    assert sink.drift(GOOD) == [f"{tenant}: holds no policy, not 7" for tenant in ("acme", "globex", "idle")]
    sink.publish(GOOD)
    assert api.rows[HASHES["acme"]] == {
        "rpm_limit": 50,
        "tpm_limit": 9_000,
        "max_parallel_requests": 1,
        "metadata": {"owner": "crm", "quotaloop_epoch": 7},
    }
    assert [path for path, _ in api.bodies] == ["/key/update"] * 3
    assert (sink.epoch(), sink.drift(GOOD)) == (7, [])
    sink.publish(GOOD)
    assert len(api.bodies) == 3


def test_each_team_gets_requests_and_tokens(tmp_path: Path, api: LiteLLM) -> None:
    teams(tmp_path, api).publish(GOOD)
    path, body = api.bodies[0]
    metadata = {"owner": "crm", "quotaloop_epoch": 7}
    assert path == "/team/update"
    assert body == {"team_id": "team-7", "rpm_limit": 50, "tpm_limit": 9_000, "metadata": metadata}


@pytest.mark.parametrize("refused", REFUSED)
def test_a_policy_that_is_not_valid_or_older_leaves_the_last_good_one(
    sink: Sink, api: LiteLLM, refused: Policy
) -> None:
    sink.publish(GOOD)
    with pytest.raises(CheckRefused, match="refused whole"):
        sink.publish(refused)
    assert len(api.bodies) == 3
    assert sink.drift(GOOD) == []


def test_limits_of_models_come_and_go_and_other_metadata_stays(sink: Sink, api: LiteLLM) -> None:
    name = next(iter(api.rows)) if sink.configuration.tenants == KEYS else "team-7"
    sink.publish(policy(7, limit("acme", "tokens", 900), limit("acme", "tokens", 0, scope=MODEL)))
    assert api.rows[name]["metadata"] == {
        "owner": "crm",
        "quotaloop_epoch": 7,
        "model_tpm_limit": {"gpt-5": 0},
    }
    sink.publish(NEWER)
    assert api.rows[name]["metadata"] == {"owner": "crm", "quotaloop_epoch": 8}
    assert api.rows[name]["rpm_limit"] == 60


def test_a_tenant_that_left_the_policy_has_safe_capacity_not_its_old_limits(sink: Sink, api: LiteLLM) -> None:
    sink.publish(GOOD)
    sink.publish(NEWER)
    globex = api.rows[HASHES["globex"] if sink.configuration.tenants == KEYS else "team-8"]
    assert (globex["rpm_limit"], globex["tpm_limit"], globex["metadata"]["quotaloop_epoch"]) == (1, 1, 8)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_push_that_is_cut_off_is_seen_and_ended_by_the_same_or_a_newer(sink: Sink, api: LiteLLM, after: int) -> None:
    sink.publish(GOOD)
    api.dies_after = 3 + after
    with pytest.raises(ServiceUnreachable, match="does not answer"):
        sink.publish(NEWER)
    api.dies_after = None
    assert sink.epoch() == (8 if after else 7)
    assert len(sink.drift(NEWER)) == 3 - after
    if after:
        with pytest.raises(CheckRefused, match="refused whole: epoch 8 is in force"):
            sink.publish(GOOD)
    sink.publish(NEWER)
    assert (sink.epoch(), sink.drift(NEWER)) == (8, [])
    undone = replace(GOOD, epoch=9)
    sink.publish(undone)
    assert sink.drift(undone) == []


def test_a_process_that_is_killed_after_one_update_leaves_a_push_that_the_next_ends(
    tmp_path: Path, api: LiteLLM
) -> None:
    code = f"""
from pathlib import Path
from tests.sinks.litellm_api import LiteLLM
from tests.sinks.test_litellm_api import GOOD, keys
api = LiteLLM()
api.url = {api.url!r}
keys(Path({str(tmp_path)!r}), api).publish(GOOD)
"""
    killed = {"QUOTALOOP_KILL_AT": "litellm:updated", "LITELLM_ADMIN_OF_TESTS": ADMIN, "PYTHONPATH": ".:src"}
    ended = subprocess.run([sys.executable, "-c", code], env=killed, cwd=ROOT, check=False)
    sink = keys(tmp_path, api)
    assert (ended.returncode, len(api.bodies), sink.epoch()) == (-9, 1, 7)
    assert sink.drift(GOOD) == ["globex: holds no policy, not 7", "idle: holds no policy, not 7"]
    sink.publish(GOOD)
    assert (len(api.bodies), sink.drift(GOOD)) == (3, [])


def test_drift_names_tenant_and_field_and_is_mended(tmp_path: Path, api: LiteLLM) -> None:
    sink = keys(tmp_path, api)
    sink.publish(GOOD)
    api.rows[HASHES["acme"]]["rpm_limit"] = None
    api.rows[HASHES["acme"]]["metadata"]["model_rpm_limit"] = {"gpt-5": 1}
    api.rows[HASHES["globex"]]["tpm_limit"] = 1.0
    api.rows[HASHES["idle"]]["status"] = "deleted"
    assert sink.drift(GOOD) == [
        "acme: model_rpm_limit is {'gpt-5': 1}, not {}",
        "acme: rpm_limit is None, not 50",
        "globex: tpm_limit is 1.0, not 1",
        "idle: its key is missing",
    ]
    del api.rows[HASHES["idle"]]["status"]
    sink.publish(GOOD)
    assert sink.drift(GOOD) == []
    assert len(api.bodies) == 5


def test_drift_stops_at_the_first_hundred(tmp_path: Path, api: LiteLLM) -> None:
    tenants = {f"t{number}": f"sk-{number}" for number in range(120)}
    assert len(keys(tmp_path, api, tenants=tenants).drift(policy(7, limit("t0", "requests", 5)))) == 100
    assert len(api.paths) == 100


@pytest.mark.parametrize("gone", [None, "deleted"])
def test_without_each_key_nothing_is_written(sink: Sink, api: LiteLLM, gone: str | None) -> None:
    name = HASHES["idle"] if sink.configuration.tenants == KEYS else "team-9"
    if gone is None:
        del api.rows[name]
    else:
        api.rows[name]["status"] = gone
    with pytest.raises(CheckRefused, match="of idle: nothing was written"):
        sink.publish(GOOD)
    assert api.bodies == []


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"rpm_limit_type": "dynamic"}, "rpm_limit_type is dynamic"),
        ({"tpm_limit_type": "dynamic"}, "tpm_limit_type is dynamic"),
        ({"throttle_on_budget_exceeded": True}, "lets 1 pass where the limit is 0"),
    ],
)
def test_a_setting_under_which_the_limit_is_not_enforced_is_refused_and_is_drift(
    tmp_path: Path, api: LiteLLM, metadata: dict[str, Any], reason: str
) -> None:
    sink = keys(tmp_path, api)
    suspended = policy(7, limit("acme", "requests", 0))
    api.rows[HASHES["acme"]]["metadata"] = metadata
    with pytest.raises(CheckRefused, match=reason):
        sink.publish(suspended)
    assert api.bodies == []
    api.rows[HASHES["acme"]]["metadata"] = {}
    sink.publish(suspended)
    assert api.rows[HASHES["acme"]]["rpm_limit"] == 0
    api.rows[HASHES["acme"]]["metadata"] |= metadata
    assert [reason in line for line in sink.drift(suspended)] == [True]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, UsageError),
        (403, UsageError),
        (400, CheckRefused),
        (422, CheckRefused),
        (429, ServiceUnreachable),
        (302, ServiceUnreachable),
        (500, ServiceUnreachable),
        (503, ServiceUnreachable),
    ],
)
def test_an_answer_of_another_status_is_an_error_of_its_kind_without_any_key(
    sink: Sink, api: LiteLLM, status: int, error: type[Exception]
) -> None:
    api.status = status
    for ask in (sink.epoch, lambda: sink.drift(GOOD), lambda: sink.publish(GOOD)):
        with pytest.raises(error, match=str(status)) as raised:
            ask()
        shown = str(raised.value) + repr(raised.value.__cause__)
        assert not any(secret in shown for secret in ("sk-", *HASHES.values()))


def test_a_server_that_is_not_there_is_unreachable_and_no_key_is_shown(tmp_path: Path, api: LiteLLM) -> None:
    sink = keys(tmp_path, api, url="http://127.0.0.1:1")
    with pytest.raises(ServiceUnreachable, match="does not answer /key/info: ConnectionError") as raised:
        sink.publish(GOOD)
    assert HASHES["acme"] not in str(raised.value)


def test_an_update_that_is_refused_midway_is_drift(tmp_path: Path, api: LiteLLM) -> None:
    sink = keys(tmp_path, api)
    sink.publish(GOOD)
    api.rows[HASHES["acme"]]["metadata"] |= {"model_rpm_limit": "damaged"}
    assert sink.drift(GOOD) == ["acme: model_rpm_limit is 'damaged', not {}"]
    sink.publish(GOOD)
    assert sink.drift(GOOD) == []


@pytest.mark.parametrize("given", ["", "sk-a\nsk-b", "schlüssel"])
def test_an_admin_key_that_is_none_is_a_wrong_call_that_does_not_show_it(
    tmp_path: Path, api: LiteLLM, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("LITELLM_ADMIN_OF_TESTS", given)
    with pytest.raises(UsageError, match="the variable LITELLM_ADMIN_OF_TESTS holds no key") as raised:
        keys(tmp_path, api).epoch()
    assert not given or given not in str(raised.value)


def test_the_admin_key_may_lie_in_a_file(tmp_path: Path, api: LiteLLM) -> None:
    file = tmp_path / "admin"
    options = {"tenants": KEYS, "mode": "api", "url": api.url, "api_key_file": str(file)}
    sink = made(LiteLLMSink, tmp_path, **options)
    with pytest.raises(UsageError, match="cannot be read: FileNotFoundError"):
        sink.epoch()
    file.write_text(ADMIN + "\n")
    sink.publish(GOOD)
    assert sink.epoch() == 7


def test_no_key_but_its_hash_stands_in_an_address(tmp_path: Path, api: LiteLLM) -> None:
    sink = keys(tmp_path, api)
    sink.publish(GOOD)
    assert not any("sk-" in path for path in api.paths)
    assert "sk-" not in json.dumps(api.bodies)
