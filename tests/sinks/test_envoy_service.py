"""The sink for Envoy's rate limit service against the real one: in force, read back, deciding as a backtest does."""

from __future__ import annotations

import random
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from redis import Redis

from peers.envoy_server import CHECKER, SERVICE, EnvoyServer
from peers.redis_server import RedisServer
from quotaloop.errors import ServiceUnreachable
from quotaloop.quotas.policy import Kind, Policy, Rate, Scope
from quotaloop.quotas.trial.backtest import tried
from quotaloop.quotas.trial.history import History
from quotaloop.quotas.trial.replay import PASSED
from quotaloop.sinks.envoy.sink import EnvoySink
from tests.sinks.envoy_sinks import DOMAIN
from tests.sinks.envoy_sinks import sink as made
from tests.sinks.pushes import limit, policy

pytestmark = pytest.mark.peers

YEAR = 365 * 86_400  # a window that does not end during a test, but once a year
LARGE = Scope(model="large", api_version="*")


@pytest.fixture
def redis(redis_server: RedisServer, redis_client: Redis) -> RedisServer:  # noqa: ARG001 - it is emptied
    if not SERVICE.exists():
        pytest.fail("the rate limit service is not installed; make test-peers installs it")
    return redis_server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "envoy"


@pytest.fixture
def server(redis: RedisServer, tmp_path: Path, folder: Path) -> Iterator[EnvoyServer]:
    """An instance without rules, over an empty Redis."""
    folder.mkdir()
    running = EnvoyServer(redis, folder / "current", tmp_path / "log")
    try:
        running.start()
        yield running
    finally:
        running.kill()


@pytest.fixture
def sink(server: EnvoyServer, folder: Path) -> EnvoySink:
    return made(folder, url=server.debug_url)


def yearly(epoch: int, *limits: Any) -> Policy:
    """A policy with a safe capacity of 2 a year of each kind."""
    rates: dict[Kind, Rate] = {
        kind: Rate(limit=2, per_seconds=YEAR, burst=2) for kind in ("requests", "tokens", "compute", "concurrency")
    }
    return replace(policy(epoch, *limits), safe_capacity=rates)


def a_year(tenant: str, kind: Kind, number: int, **fields: Any) -> Any:
    return limit(tenant, kind, number, per_seconds=YEAR, **fields)


def allowed(server: EnvoyServer, times: int, tenant: str, **asked: Any) -> list[bool]:
    return [server.allows(DOMAIN, tenant, **asked) for _ in range(times)]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_is_published_is_in_force_up_to_the_unit(server: EnvoyServer, sink: EnvoySink) -> None:
    pushed = yearly(7, a_year("acme", "requests", 5), a_year("acme", "tokens", 900))
    assert sink.drift(pushed)[-1] == f"{server.debug_url} has loaded no rules: everything passes there"
    sink.publish(pushed)
    assert sink.drift(pushed) == []
    assert allowed(server, 3, "acme", costs={"requests": 1, "tokens": 300}) == [True] * 3
    assert allowed(server, 2, "acme", costs={"requests": 1, "tokens": 1}) == [False] * 2  # counts under both
    assert allowed(server, 1, "acme", costs={"requests": 1}) == [False]


def test_a_year_of_each_unit_is_what_the_service_takes(sink: EnvoySink, folder: Path) -> None:
    seconds = (1, 60, 3_600, 86_400, 604_800, 2_592_000, YEAR)
    pushed = policy(7, *(limit(f"t{each}", "compute", 2**32 - 1, per_seconds=each) for each in seconds))
    sink.publish(pushed)
    assert sink.drift(pushed) == []
    checked = subprocess.run([CHECKER, "-config_dir", folder / "current/ratelimit/config"], check=False)
    assert checked.returncode == 0


def test_names_of_all_sorts_arrive_as_they_are(server: EnvoyServer, sink: EnvoySink) -> None:
    models = ["llama3:8b", 'a "quoted" \\ one', "é 😀 x", "#no: comment", " ", "127.0.0.1", "null", "7", "x_y.z|w"]
    pushed = yearly(7, *(a_year("acme", "tokens", 3, scope=Scope(model=model, api_version="*")) for model in models))
    sink.publish(pushed)
    assert sink.drift(pushed) == []
    for model in models:
        assert allowed(server, 4, "acme", costs={"tokens": 1}, model=model) == [True, True, True, False]


def test_a_suspended_tenant_gets_nothing(server: EnvoyServer, sink: EnvoySink) -> None:
    sink.publish(yearly(7, a_year("acme", "requests", 0), a_year("globex", "requests", 1)))
    assert allowed(server, 2, "acme", costs={"requests": 1}) == [False, False]
    assert allowed(server, 2, "globex", costs={"requests": 1}) == [True, False]


def test_a_tenant_without_a_limit_has_the_safe_capacity_for_itself(server: EnvoyServer, sink: EnvoySink) -> None:
    sink.publish(yearly(7, a_year("acme", "requests", 5)))
    for tenant in ("unknown", "other", "acme_kind_tokens"):
        assert allowed(server, 3, tenant, costs={"requests": 1}) == [True, True, False]
    assert allowed(server, 3, "acme", costs={"tokens": 1}) == [True, True, False]


def test_safe_capacity_holds_where_no_limit_of_the_tenant_does(server: EnvoyServer, sink: EnvoySink) -> None:
    sink.publish(yearly(7, a_year("acme", "tokens", 4, scope=LARGE)))
    assert allowed(server, 5, "acme", costs={"tokens": 1}, model="large") == [True] * 4 + [False]
    assert allowed(server, 3, "acme", costs={"tokens": 1}, model="small") == [True, True, False]


def test_all_limits_whose_scope_fits_hold_together(server: EnvoyServer, sink: EnvoySink) -> None:
    one = a_year("acme", "tokens", 3, scope=Scope(model="large", api_version="v1"))
    sink.publish(yearly(7, a_year("acme", "tokens", 6), one, a_year("acme", "tokens", 5, scope=LARGE)))
    assert allowed(server, 4, "acme", costs={"tokens": 1}, model="large", api_version="v1") == [True] * 3 + [False]
    assert allowed(server, 2, "acme", costs={"tokens": 1}, model="large", api_version="v2") == [True, False]
    assert allowed(server, 1, "acme", costs={"tokens": 1}, model="small") == [False]  # 6 were counted


def test_in_shadow_nothing_is_refused_and_the_service_counts(server: EnvoyServer, folder: Path) -> None:
    sink = made(folder, url=server.debug_url, shadow=True)
    pushed = yearly(7, a_year("acme", "requests", 1))
    sink.publish(pushed)
    assert sink.drift(pushed) == []
    assert allowed(server, 4, "acme", costs={"requests": 1}) == [True] * 4
    _, statuses = server.ask(
        DOMAIN, [{"entries": [{"key": "kind", "value": "requests"}, {"key": "tenant", "value": "acme"}]}]
    )
    assert (statuses[0]["code"], statuses[0].get("limitRemaining", 0)) == ("OK", 0)
    without = made(folder, url=server.debug_url)
    assert without.drift(pushed) != []
    without.publish(pushed)
    assert without.drift(pushed) == []
    assert allowed(server, 1, "acme", costs={"requests": 1}) == [False]


def test_everything_passes_for_a_domain_that_the_service_does_not_know(server: EnvoyServer, sink: EnvoySink) -> None:
    sink.publish(yearly(7, a_year("acme", "requests", 0)))
    assert server.allows("other", "acme", {"requests": 1})


def test_one_that_takes_nothing_passes_once_more_than_one_that_takes_a_unit(
    server: EnvoyServer, sink: EnvoySink
) -> None:
    sink.publish(yearly(7, a_year("acme", "tokens", 3)))
    entries = [{"key": "kind", "value": "tokens"}, {"key": "tenant", "value": "acme"}]
    statuses = [server.ask(DOMAIN, [{"entries": entries, "hitsAddend": hits}])[0] for hits in ("0", "3", "0", "1", "0")]
    assert statuses == [200, 200, 200, 429, 429]


def test_a_file_that_the_service_refuses_without_a_word_is_drift_until_it_is_published_again(
    server: EnvoyServer, sink: EnvoySink, folder: Path, tmp_path: Path
) -> None:
    bad, good = yearly(8, a_year("acme", "requests", 6)), yearly(7, a_year("acme", "requests", 5))
    sink.publish(good)
    files = made(folder)  # knows nothing of the service
    file = next(folder.glob("0*/ratelimit/config/quotaloop.yaml"))
    file.write_bytes(file.read_bytes().replace(b'"year"', b'"eon"'))
    files._delivery.announce()
    until(lambda: "invalid rate limit unit" in (tmp_path / "log").read_text())
    assert sink.drift(good) == [f"{folder}/current is not policy 7 as published, somebody changed it"]
    assert f"{server.debug_url} has loaded 7-" in sink.drift(bad)[1]
    assert allowed(server, 6, "acme", costs={"requests": 1}) == [True] * 5 + [False]
    sink.publish(bad)
    assert sink.drift(bad) == []


def test_rules_that_somebody_edited_are_drift_in_the_file_and_in_the_service(
    server: EnvoyServer, sink: EnvoySink, folder: Path
) -> None:
    pushed = yearly(7, a_year("acme", "requests", 5))
    sink.publish(pushed)
    file = folder / "current/ratelimit/config/quotaloop.yaml"
    file.write_bytes(file.read_bytes().replace(b'"requests_per_unit": 5', b'"requests_per_unit": 500'))
    sink._delivery.announce()
    until(lambda: "=500," in server.loaded())
    line = "gateway.kind_requests.tenant_acme: unit=YEAR requests_per_unit={}, shadow_mode: false, quota_mode: false"
    assert sink.drift(pushed) == [
        f"{folder}/current is not policy 7 as published, somebody changed it",
        f"{server.debug_url} lacks {line.format(5)}",
        f"{server.debug_url} holds {line.format(500)}",
    ]
    sink.publish(pushed)
    assert sink.drift(pushed) == []


def test_an_older_set_is_drift_though_it_limits_the_same(server: EnvoyServer, sink: EnvoySink, folder: Path) -> None:
    older, newer = yearly(7, a_year("acme", "requests", 5)), yearly(8, a_year("acme", "requests", 5))
    sink.publish(older)
    assert allowed(server, 3, "acme", costs={"requests": 1}) == [True] * 3
    assert sink.drift(newer)[0] == f"{folder}/current holds policy 7"
    assert re.fullmatch(f"{server.debug_url} has loaded 7-[0-9a-f]+, not 8-[0-9a-f]+", sink.drift(newer)[1])
    sink.publish(newer)
    assert sink.drift(newer) == []
    assert allowed(server, 3, "acme", costs={"requests": 1}) == [True, True, False]  # what was counted stays


def test_an_instance_that_has_missed_it_loads_it_when_it_is_published_again(
    server: EnvoyServer, sink: EnvoySink, folder: Path
) -> None:
    older, newer = yearly(7, a_year("acme", "requests", 5)), yearly(8, a_year("acme", "requests", 6))
    sink.publish(older)
    link = (folder / "current").readlink()
    files = made(folder)
    files.publish(newer)
    until(lambda: "=6," in server.loaded())
    newest = (folder / "current").readlink()
    (folder / "current").unlink()
    (folder / "current").symlink_to(link)
    until(lambda: "=5," in server.loaded())
    (folder / "current").unlink()
    (folder / newest).rename(folder / "aside")
    (folder / "current").symlink_to(newest)  # leads nowhere for now: no rules at all
    until(lambda: server.loaded() == "")
    (folder / "aside").rename(folder / newest)
    assert sink.drift(newer) == [f"{server.debug_url} has loaded no rules: everything passes there"]
    sink.publish(newer)
    assert sink.drift(newer) == []


@pytest.fixture
def second(redis: RedisServer, tmp_path: Path) -> Iterator[EnvoyServer]:
    """Another instance over the same Redis, with a folder of its own."""
    (tmp_path / "elsewhere").mkdir()
    running = EnvoyServer(redis, tmp_path / "elsewhere/current", tmp_path / "second.log")
    try:
        running.start()
        yield running
    finally:
        running.kill()


def test_of_two_instances_each_is_asked(server: EnvoyServer, second: EnvoyServer, folder: Path, tmp_path: Path) -> None:
    pushed = yearly(7, a_year("acme", "requests", 3))
    both = [server.debug_url, second.debug_url]
    made(folder, url=both, patience=0).publish(pushed)
    until(lambda: server.loaded() != "")
    assert made(folder, url=both).drift(pushed) == [f"{both[1]} has loaded no rules: everything passes there"]
    made(tmp_path / "elsewhere", url=both).publish(pushed)
    assert made(folder, url=both).drift(pushed) == []
    asked = [one.allows(DOMAIN, "acme", {"requests": 1}) for one in (server, second, server, second)]
    assert asked == [True, True, True, False]
    second.kill()
    with pytest.raises(ServiceUnreachable, match=re.escape(f"{both[1]} does not answer")):
        made(folder, url=both).drift(pushed)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of the agreement test, and the second (epoch) in which the service has counted it."""

    tenant: str
    model: str
    api_version: str
    tokens: int
    compute: int
    passed: bool
    second: int


def replayed(server: EnvoyServer, redis: RedisServer, count: int) -> list[Asked]:
    """So many requests, one after the other; Redis tells under which second each was counted, since its keys say so."""
    chance = random.Random(3)
    tenants = ["acme", "globex", "initech", "hooli", "stranger", "suspended"]
    made_requests = []
    with Redis(port=redis.port) as client, client.monitor() as monitor:
        for number in range(count):
            tenant, model = chance.choice(tenants), chance.choice(["large", "small", "unknown"])
            version = chance.choice(["v1", "v2"])
            tokens, compute = chance.choice([0, 1, 7, 40, 399, 2_000]), chance.choice([0, 0, 5, 1_000_000])
            before = int(time.time())
            costs = {"requests": 1, "tokens": tokens, "compute": compute}
            passed = server.allows(DOMAIN, tenant, costs, model=model, api_version=version)
            after = int(time.time())
            client.echo(f"end {number}")
            made_requests.append((tenant, model, version, tokens, compute, passed, before, after))
        seconds = _seconds(monitor, count)
    for (*_, before, after), second in zip(made_requests, seconds, strict=True):
        assert before // 60 * 60 <= second <= after
    return [Asked(*request[:6], second) for request, second in zip(made_requests, seconds, strict=True)]


def _seconds(monitor: Any, count: int) -> list[int]:
    """Of each request the begin of the shortest window in its keys, or a later one that holds the request before.

    The service takes the time once a request, so this lies in all windows in which it has counted the request.
    """
    found: list[int] = []
    windows: list[int] = []
    for entry in monitor.listen():
        words = entry["command"].split(" ")
        if words[0].upper() == "INCRBY":
            windows.append(int(entry["command"].rsplit(" ", 1)[0].rsplit("_", 1)[1].strip('"')))
        elif words[0].upper() == "ECHO":
            found.append(max([*windows, *found[-1:]]))
            windows.clear()
            if len(found) == count:
                return found
    raise AssertionError("the monitor ended")


def history(tenant: str, requests: list[Asked]) -> History:
    own = [each for each in requests if each.tenant == tenant]
    times = np.array([each.second * 1_000 for each in own], np.int64)
    return History(
        tenant=tenant,
        model=np.array([each.model for each in own], dtype=object),
        api_version=np.array([each.api_version for each in own], dtype=object),
        hour_ms=times // 3_600_000 * 3_600_000,
        arrived_ms=times,
        ended_ms=times + 1,
        tokens=np.array([each.tokens for each in own], np.int64),
        compute=np.array([each.compute for each in own], np.int64),
        was_denied=np.zeros(len(own), np.bool_),
        chain=np.full(len(own), -1, np.int64),
    )


def test_the_service_decides_event_for_event_as_the_backtest_of_the_sink_does(
    server: EnvoyServer, sink: EnvoySink, redis: RedisServer
) -> None:
    second: dict[str, Any] = {"per_seconds": 1}
    rates: dict[Kind, Rate] = {
        "requests": Rate(limit=20, per_seconds=1, burst=20),
        "tokens": Rate(limit=1_500, per_seconds=1, burst=1_500),
        "compute": Rate(limit=3_000_000, per_seconds=60, burst=3_000_000),
        "concurrency": Rate(limit=1, per_seconds=1, burst=1),
    }
    pushed = policy(
        7,
        limit("acme", "requests", 45, **second),
        limit("acme", "tokens", 12_400, **second),
        limit("globex", "requests", 60, **second),
        limit("globex", "tokens", 60_000, scope=LARGE),
        limit("globex", "tokens", 6_900, scope=Scope(model="*", api_version="v1"), **second),
        limit("initech", "requests", 500),
        limit("initech", "requests", 8, scope=Scope(model="large", api_version="v2"), **second),
        limit("initech", "tokens", 200_000),
        limit("initech", "tokens", 4_000, scope=Scope(model="small", api_version="*"), **second),
        limit("initech", "compute", 9_000_000, **second),
        limit("hooli", "requests", 55, **second),
        limit("hooli", "tokens", 2**32 - 1, **second),
        limit("suspended", "requests", 0, **second),
    )
    pushed = replace(pushed, safe_capacity=rates)
    sink.publish(pushed)
    assert sink.drift(pushed) == []
    requests = replayed(server, redis, 4_000)
    differ = []
    for tenant in sorted({each.tenant for each in requests}):
        answers = tried(history(tenant, requests), pushed, EnvoySink.usual)
        own = [each for each in requests if each.tenant == tenant]
        differ += [
            (each, int(answer)) for each, answer in zip(own, answers, strict=True) if each.passed != (answer == PASSED)
        ]
    assert differ == []
    passed = Counter((each.tenant, each.passed) for each in requests)
    assert all(passed[tenant, True] > 0 for tenant in ("acme", "globex", "initech", "hooli", "stranger"))
    assert passed["suspended", False] == sum(each.tenant == "suspended" for each in requests)
    assert sum(not each.passed for each in requests) > 700
