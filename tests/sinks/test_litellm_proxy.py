"""Limits files against the real LiteLLM proxy, in an environment of its own: what is published is what it enforces."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from msgspec.structs import replace

from quotaloop.quotas.policy import Policy, Rate, instant
from quotaloop.quotas.trial.replay import PASSED, Attempts, Counter, replay
from quotaloop.sinks.litellm.sink import LiteLLMSink
from quotaloop.sinks.sink import Sink
from tests.sinks.litellm_api import ADMIN, LiteLLM, served
from tests.sinks.pushes import GOOD, limit, policy
from tests.sinks.pushes import sink as made
from tests.sinks.test_litellm import MODEL
from tests.sinks.test_litellm_api import HASHES, TEAMS, keys, teams

ROOT = Path(__file__).resolve().parents[2]
LITELLM = ROOT / "build" / "litellm" / "bin" / "litellm"
HOOK = ROOT / "src" / "quotaloop" / "sinks" / "litellm" / "auth.py"
WINDOW_S = 5
TENANTS = {name: f"sk-{name}-{secrets.token_hex(8)}" for name in ("acme", "globex", "initech", "hooli", "umbrella")}
SAFE = {kind: Rate(limit=2, per_seconds=WINDOW_S, burst=2) for kind in GOOD.safe_capacity}
SAFE["tokens"] = Rate(limit=1_000, per_seconds=WINDOW_S, burst=1_000)
TOKENS = 30  # of each mock response
PATIENCE_S = 90
CONFIG = """
model_list:
  - {model_name: gpt-5, litellm_params: {model: openai/gpt-5, api_key: none, mock_response: hello}}
  - {model_name: other, litellm_params: {model: openai/other, api_key: none, mock_response: hello}}
  - {model_name: slow, litellm_params: {model: openai/slow, api_key: none, mock_response: hello, mock_delay: 1}}
general_settings:
  custom_auth: litellm_auth.user_api_key_auth
"""

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not LITELLM.exists(), reason="no LiteLLM proxy: `make litellm` installs it"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("litellm")


@pytest.fixture(scope="module")
def sink(folder: Path) -> Sink:
    path = str(folder / "limits.json")
    return made(LiteLLMSink, folder, tenants=TENANTS, mode="file", path=path, window_seconds=WINDOW_S)


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """A proxy with the hook beside its configuration, as the pages tell an operator to do it."""
    (folder / "config.yaml").write_text(CONFIG)
    shutil.copy(HOOK, folder / "litellm_auth.py")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "QUOTALOOP_LITELLM_FILE": str(folder / "limits.json"),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(24)}",
        "LITELLM_RATE_LIMIT_WINDOW_SIZE": str(WINDOW_S),
        "LITELLM_TPM_TOKEN_RESERVATION_ENABLED": "false",
    }
    words = [str(LITELLM), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(words, cwd=folder, env={**os.environ, **settings}, stdout=log, stderr=log)
    try:
        _wait(process, port, folder / "log")
        yield f"http://127.0.0.1:{port}/chat/completions"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"the proxy does not answer: {log.read_text(errors='replace')[-2_000:]}")
            time.sleep(0.2)


def ask(url: str, tenant: str, model: str = "gpt-5") -> requests.Response:
    """One request; LiteLLM charges its tokens a moment after it has answered."""
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    return requests.post(url, json=body, headers={"Authorization": f"Bearer {TENANTS[tenant]}"}, timeout=30)


def statuses(url: str, tenant: str, count: int, model: str = "gpt-5") -> list[int]:
    found = []
    for _ in range(count):
        found.append(ask(url, tenant, model).status_code)
        time.sleep(0.2)  # until the tokens are charged
    return found


def in_force(sink: Sink, *limits: Any, **changes: Any) -> Policy:
    """Published as the next epoch, in windows of the proxy's length."""
    rates = [one if one.kind == "concurrency" else replace(one, per_seconds=WINDOW_S) for one in limits]
    pushed = replace(policy((sink.epoch() or 0) + 1, *rates), safe_capacity=SAFE, **changes)
    sink.publish(pushed)
    assert sink.drift(pushed) == []
    return pushed


def a_new_window() -> None:
    """Wait until what was counted is forgotten: a window begins with its first request."""
    time.sleep(WINDOW_S + 1)


def test_requests_pass_up_to_the_limit_and_a_new_policy_is_in_force_at_the_next(sink: Sink, url: str) -> None:
    a_new_window()
    in_force(sink, limit("acme", "requests", 3), limit("acme", "tokens", 100_000))
    assert statuses(url, "acme", 5) == [200, 200, 200, 429, 429]
    in_force(sink, limit("acme", "requests", 8), limit("acme", "tokens", 100_000))
    answer = ask(url, "acme")
    assert answer.status_code == 200
    assert limits_of(answer) == ("8", "100000")


def test_tokens_pass_while_less_than_the_limit_is_spent(sink: Sink, url: str) -> None:
    a_new_window()
    in_force(sink, limit("globex", "tokens", 2 * TOKENS + 2), limit("globex", "requests", 100))
    assert statuses(url, "globex", 4) == [200, 200, 429, 429]


def test_every_kind_that_is_suspended_lets_nothing_pass(sink: Sink, url: str) -> None:
    a_new_window()
    in_force(
        sink,
        limit("acme", "requests", 0),
        limit("globex", "tokens", 0),
        limit("initech", "concurrency", 0),
        limit("hooli", "requests", 100),
        limit("hooli", "tokens", 100_000),
        limit("hooli", "requests", 0, scope=MODEL),
    )
    for tenant in ("acme", "globex", "initech", "hooli"):
        assert statuses(url, tenant, 2) == [429, 429], tenant
    assert statuses(url, "hooli", 1, "other") == [200]


def test_a_tenant_without_limit_and_one_of_an_expired_policy_have_safe_capacity(sink: Sink, url: str) -> None:
    a_new_window()
    in_force(sink, limit("acme", "requests", 100), limit("acme", "tokens", 100_000))
    assert limits_of(ask(url, "umbrella")) == ("2", "1000")
    in_force(sink, limit("acme", "requests", 100), expires_at=instant(1))
    assert limits_of(ask(url, "acme")) == ("2", "1000")


def limits_of(answer: requests.Response) -> tuple[str, str]:
    """Of requests and of tokens, as the proxy says them."""
    names = (f"x-ratelimit-api_key-limit-{kind}" for kind in ("requests", "tokens"))
    requests_limit, tokens_limit = (answer.headers[name] for name in names)
    return requests_limit, tokens_limit


def test_so_many_at_a_time_as_there_are_slots(sink: Sink, url: str) -> None:
    a_new_window()
    many = [limit("initech", "requests", 100), limit("initech", "tokens", 100_000)]
    in_force(sink, limit("initech", "concurrency", 2), *many)
    together = threading.Barrier(4)

    def one(_: int) -> int:
        together.wait()
        return ask(url, "initech", "slow").status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(one, range(4))) == [200, 200, 429, 429]
    assert ask(url, "initech", "slow").status_code == 200


def test_a_key_that_is_not_known_is_refused_and_so_is_the_hash_of_one(sink: Sink, url: str, folder: Path) -> None:
    in_force(sink, limit("acme", "requests", 100))
    content = (folder / "limits.json").read_text()
    hashes = [word for word in content.split('"') if len(word) == 64]
    assert len(hashes) == len(TENANTS)
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
    for key in ("sk-nobody", *hashes):
        answer = requests.post(url, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=30)
        assert answer.status_code == 401
        assert key not in answer.text


def test_what_passes_is_what_a_replay_of_the_same_times_says(sink: Sink, url: str) -> None:
    """Bursts before, at and after the ends of windows, each of which refuses; times are those of the asking."""
    a_new_window()
    in_force(sink, limit("umbrella", "requests", 3), limit("umbrella", "tokens", 1_000_000))
    start = time.monotonic()
    plan = [0.0, 0.1, 0.2, 0.3, 2.5, 4.5, 5.6, 5.7, 5.8, 5.9, 8.0, 10.2, 11.5, 11.6, 13.0, 13.1]
    arrived_ms, passed = [], []
    for offset in plan:
        time.sleep(max(0.0, start + offset - time.monotonic()))
        arrived_ms.append(time.time_ns() // 1_000_000)
        passed.append(ask(url, "umbrella").status_code == 200)
    count = len(plan)
    attempts = Attempts(
        np.array(arrived_ms),
        np.array(arrived_ms) + 1,
        np.ones((1, count), np.int64),
        np.full(count, -1),
        np.zeros(count, np.bool_),
    )
    answers = replay(attempts, [Counter("window_from_first", 3, WINDOW_S * 1_000, 3)], LiteLLMSink.usual.manner)
    assert passed == [answer == PASSED for answer in answers]
    assert passed.count(True) not in (0, count)


PREPARED = """
import asyncio, json, sys
from litellm.models.verification_token import LiteLLM_VerificationToken
from litellm.proxy._types import UpdateKeyRequest, UpdateTeamRequest
from litellm.proxy.management_endpoints.common_utils import update_metadata_fields
from litellm.proxy.management_endpoints.key_management_endpoints import prepare_key_update_data

def prepared(path, body, before):
    if path == "/team/update":
        values = UpdateTeamRequest(**body).json(exclude_unset=True)  # a dict
        update_metadata_fields(updated_kv=values)
        return {name: value for name, value in values.items() if name != "team_id"}
    row = LiteLLM_VerificationToken(token=body["key"], metadata=before)
    return asyncio.run(prepare_key_update_data(UpdateKeyRequest(**body), row))

print(json.dumps([prepared(*one) for one in json.load(sys.stdin)]))
"""


def test_what_the_api_is_sent_is_what_litellm_itself_would_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own request models and its own merging of metadata, over entries that have metadata and limits of models."""
    monkeypatch.setenv("LITELLM_ADMIN_OF_TESTS", ADMIN)
    before = {"owner": "crm", "model_rpm_limit": {"old": 1}, "quotaloop_epoch": 3}
    names = [*HASHES.values(), *TEAMS.values()]
    pushed = policy(
        7, limit("acme", "requests", 2**53 - 1), limit("acme", "tokens", 900), limit("acme", "tokens", 0, scope=MODEL)
    )
    with served(LiteLLM()) as api:
        for name in names:
            api.add(name, metadata=before)
        keys(tmp_path, api).publish(pushed)
        teams(tmp_path, api).publish(pushed)
    ended = subprocess.run(
        [LITELLM.with_name("python"), "-c", PREPARED],
        input=json.dumps([(path, body, before) for path, body in api.bodies]),
        text=True,
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    kept = json.loads(ended.stdout.splitlines()[-1])
    written = [{field: value for field, value in api.rows[name].items() if value is not None} for name in names]
    assert kept == written
    metadata = {"owner": "crm", "quotaloop_epoch": 7, "model_tpm_limit": {"gpt-5": 0}}
    assert [kept[place]["metadata"] for place in (0, 3)] == [metadata, metadata]
