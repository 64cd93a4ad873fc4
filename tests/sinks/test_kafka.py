"""The records of a policy and back, without a broker."""

from __future__ import annotations

import json
import random
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.quotas.policy import Policy, Scope
from quotaloop.settings import Settings
from quotaloop.sinks.kafka.records import HEAD, digest, epoch_of, policy_of, records
from quotaloop.sinks.kafka.sink import KafkaSink
from quotaloop.sinks.kafka.table import differences, partition_of, writes
from tests.sinks.pushes import GOOD, REFUSED, limit
from tests.sinks.pushes import policy as made_policy
from tests.sinks.pushes import sink as made

ACME = {
    "epoch": 7,
    "format": "quotaloop/policy-limits@1",
    "limits": [
        {
            "tenant": "acme",
            "scope": {"model": "*", "api_version": "*"},
            "kind": kind,
            "limit": number,
            "per_seconds": 60,
            "burst": number,
            "evidence": {"bound_by": "want"},
        }
        for kind, number in (("requests", 50), ("tokens", 9_000))
    ],
}


def table(policy: Policy, *, partitions: int = 1) -> dict[tuple[int, bytes], bytes]:
    """A topic in which a policy lies."""
    return {(partition_of(key, partitions), key): value for key, value in records(policy).items()}


def test_a_tenant_is_one_record_and_the_rest_of_the_policy_is_the_last() -> None:
    found = records(GOOD)
    assert list(found) == [b"acme", b"globex", b"_policy"]
    assert json.loads(found[b"acme"]) == ACME
    assert not any(b"\n" in value for value in found.values())
    rate = {"limit": 1, "per_seconds": 60, "burst": 1}
    assert json.loads(found[HEAD]) == {
        "format": "quotaloop/policy-head@1",
        "epoch": 7,
        "release": 1,
        "created_at": "1970-01-01T00:00:00Z",
        "valid_from": "1970-01-01T00:00:00Z",
        "expires_at": "2090-01-01T00:00:00Z",
        "safe_capacity": dict.fromkeys(("requests", "tokens", "concurrency", "compute"), rate),
        "tenants": 2,
        "digest": sha256(found[b"acme"] + b"\n" + found[b"globex"] + b"\n").hexdigest(),
    }


def test_the_digest_tells_values_that_are_cut_elsewhere_apart() -> None:
    assert digest([b"ab", b"c"]) != digest([b"a", b"bc"])
    assert digest([b"a", b"b"]) != digest([b"b", b"a"])


def test_the_records_are_the_policy_whatever_order_they_come_in() -> None:
    assert policy_of(records(GOOD)) == GOOD
    assert policy_of(dict(reversed(records(GOOD).items()))) == GOOD
    assert policy_of({}) is None


@pytest.mark.parametrize("seed", range(20))
def test_any_policy_comes_back_by_tenant(seed: int) -> None:
    chance = random.Random(seed)
    scopes = [Scope(model=model, api_version="*") for model in ("*", "m", "\u00e9 \U0001f600\n", '"')]
    limits = [
        limit(f"t{number}", kind, chance.choice([0, 1, 2**53 - 1]), scope=scope, evidence={"p99": chance.random()})
        for number in range(30)
        for kind in ("requests", "tokens", "concurrency", "compute")
        for scope in chance.sample(scopes, 2)
    ]
    whole = made_policy(chance.randint(1, 9_999_999_999), *limits)
    assert policy_of(records(whole)) == whole
    shuffled = chance.sample(whole.limits, len(whole.limits))
    mixed = policy_of(records(replace(whole, limits=tuple(shuffled))))
    assert mixed is not None
    assert mixed.limits == tuple(sorted(shuffled, key=lambda one: one.tenant))


def test_what_is_not_one_whole_policy_is_none() -> None:
    whole, newer = records(GOOD), records(replace(GOOD, epoch=8))
    spoilt = [
        {key: value for key, value in whole.items() if key != HEAD},
        {key: value for key, value in whole.items() if key != b"acme"},
        whole | {b"acme": newer[b"acme"]},
        whole | {HEAD: newer[HEAD]},
        newer | {HEAD: whole[HEAD]},
        whole | {b"initech": whole[b"acme"]},
        whole | {b"acme": whole[b"acme"].replace(b"50", b"51")},
        whole | {HEAD: whole[HEAD].replace(b'"tenants":2', b'"tenants":3')},
        whole | {HEAD: b"{}"},
        whole | {HEAD: b"\xff"},
        whole | {HEAD: b"[" * 100_000},
    ]
    for one in spoilt:
        with pytest.raises(CheckRefused):
            policy_of(one)


@pytest.mark.parametrize("refused", [one for one in REFUSED if one.id not in ("older_epoch", "missing_tenant")])
def test_records_that_no_valid_policy_has_are_none(refused: Policy) -> None:
    with pytest.raises(CheckRefused):
        policy_of(records(refused))


def test_records_of_two_epochs_are_none_whatever_their_digest_says() -> None:
    found = records(GOOD)
    newer = records(replace(GOOD, epoch=8))
    values = [found[b"acme"], newer[b"globex"]]
    head = newer[HEAD].replace(json.loads(newer[HEAD])["digest"].encode(), digest(values).encode())
    with pytest.raises(CheckRefused, match="not of policy 8 alone"):
        policy_of({b"acme": values[0], b"globex": values[1], HEAD: head})


def test_a_tenant_lies_under_its_identity_and_no_two_under_one() -> None:
    names = {"acme": "team-7"}
    found = records(GOOD, lambda tenant: names.get(tenant, tenant))
    assert list(found) == [b"globex", b"team-7", HEAD]
    assert policy_of(found) == GOOD
    for taken in ("globex", "_policy"):
        with pytest.raises(CheckRefused, match=f"acme would have the key {taken}|globex would have the key globex"):
            records(GOOD, lambda tenant, taken=taken: {"acme": taken}.get(tenant, tenant))  # type: ignore[misc]


def test_the_epoch_of_a_record_is_known_unless_it_is_not_ours() -> None:
    assert [epoch_of(value) for value in records(GOOD).values()] == [7, 7, 7]
    others = (
        b"",
        b"{}",
        b'{"format":"x","epoch":9}',
        b'{"format":"quotaloop/policy-head@1","epoch":0}',
        b"[" * 100_000,
    )
    assert [epoch_of(value) for value in others] == [None] * 5


def test_what_differs_is_said_by_key() -> None:
    wanted, there = records(GOOD), table(GOOD)
    assert list(differences(wanted, {}, 1)) == ["_policy is missing", "acme is missing", "globex is missing"]
    assert list(differences(wanted, there, 1)) == []
    newer = replace(GOOD, epoch=8)
    assert list(differences(wanted, there | {(0, b"acme"): records(newer)[b"acme"]}, 1)) == ["acme is of policy 8"]
    changed = {
        (0, b"acme"): there[0, b"acme"].replace(b"50", b"51"),
        (0, b"globex"): b"text",
        (0, b"in\nitech"): b"",
        (0, b"\xff"): b"",
    }
    assert list(differences(wanted, there | changed, 1)) == [
        "acme is not as published, somebody changed it",
        "globex is not as published, somebody changed it",
        "'in\\nitech' lies there, and is not of the policy",
        "\\xff lies there, and is not of the policy",
    ]


def test_what_lies_in_another_partition_is_seen_and_taken_away() -> None:
    wanted, there = records(GOOD), table(GOOD)
    grown = table(GOOD, partitions=5)
    moved = sorted(key for number, key in grown if number)
    assert moved == [b"_policy", b"acme", b"globex"]
    assert len(list(differences(wanted, there, 5))) == 3
    twice = there | grown
    own = partition_of(b"acme", 5)
    assert f"acme lies in another partition than its own (0, {own})" in list(differences(wanted, twice, 5))
    found = writes(wanted, twice, 5)
    assert found == [
        (0, b"_policy", None),
        (0, b"acme", None),
        (0, b"globex", None),
        *((partition_of(key, 5), key, value) for key, value in wanted.items()),
    ]


def test_a_tenant_that_left_gets_a_tombstone_and_the_policy_is_written_last() -> None:
    fewer = records(made_policy(8, limit("acme", "requests", 1)))
    assert writes(fewer, table(GOOD), 1) == [
        (0, b"globex", None),
        (0, b"acme", fewer[b"acme"]),
        (0, HEAD, fewer[HEAD]),
    ]


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973_932_308),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"a-little-bit-longer-string", -1_486_304_829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        (b"abc", 479_470_107),
    ],
)
def test_keys_are_hashed_as_in_the_tests_of_kafka(key: bytes, hashed: int) -> None:
    assert partition_of(key, 2**31) == hashed & 0x7FFFFFFF
    assert partition_of(key, 12) == (hashed & 0x7FFFFFFF) % 12


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"topic": 7},
        {"topic": ""},
        {"topic": ".."},
        {"topic": "a b"},
        {"topic": "a@2"},
        {"topic": "t", "partitions": 0},
        {"topic": "t", "partitions": True},
        {"topic": "t", "replication": "3"},
    ],
)
def test_options_that_cannot_be_are_a_wrong_setting(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"sink edge: (topic|partitions|replication) is"):
        made(KafkaSink, tmp_path, settings=Settings(kafka_brokers="127.0.0.1:1"), **options)


def test_brokers_are_those_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no broker is known"):
        made(KafkaSink, tmp_path, topic="t")


@pytest.mark.parametrize("refused", [one for one in REFUSED if one.id != "older_epoch"])
def test_what_is_not_valid_is_refused_without_a_broker(tmp_path: Path, refused: Policy) -> None:
    sink = made(KafkaSink, tmp_path, settings=Settings(kafka_brokers="127.0.0.1:1"), topic="t")
    with pytest.raises(CheckRefused, match="refused whole"):
        sink.check(refused)
    with pytest.raises(CheckRefused, match="refused whole"):
        sink.publish(refused)
