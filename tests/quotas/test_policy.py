"""The policy document: its bytes, what is refused, and where it lies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from quotaloop.errors import CheckRefused
from quotaloop.quotas.policy import (
    KINDS,
    Limit,
    Policy,
    Rate,
    Scope,
    check_push,
    instant,
    newest,
    parse,
    policies,
    render,
    same_limits,
    store_policy,
)
from quotaloop.storage.local import LocalStore

AT = 1_772_409_600_000
LIMIT = Limit(
    tenant="007",
    scope=Scope(model="*", api_version="*"),
    kind="tokens",
    limit=50,
    per_seconds=60,
    burst=50,
    evidence={"quantile": 0.99, "want": 50},
)
POLICY = Policy(
    format="quotaloop/policy@1",
    epoch=1,
    release=3,
    created_at=instant(AT),
    valid_from=instant(AT),
    expires_at=instant(AT + 1_500),
    limits=(LIMIT,),
    safe_capacity={kind: Rate(limit=2, per_seconds=60, burst=2) for kind in KINDS},
)


def pushed(**changes: Any) -> bytes:
    """The policy's JSON with other values in its only limit."""
    document = json.loads(render(POLICY))
    document["limits"][0].update(changes)
    return json.dumps(document).encode()


def test_a_policy_is_json_with_sorted_keys_and_a_newline() -> None:
    lines = render(POLICY).decode().split("\n")
    assert lines[:4] == [
        "{",
        ' "created_at": "2026-03-02T00:00:00Z",',
        ' "epoch": 1,',
        ' "expires_at": "2026-03-02T00:00:01.500000Z",',
    ]
    assert lines[-2:] == ["}", ""]
    document = json.loads(render(POLICY))
    assert list(document["limits"][0]) == ["burst", "evidence", "kind", "limit", "per_seconds", "scope", "tenant"]
    assert render(POLICY) == (json.dumps(document, sort_keys=True, indent=1) + "\n").encode()


def test_what_is_written_reads_back_the_same() -> None:
    suspended = replace(LIMIT, kind="requests", limit=0, burst=0, suspended=True)
    policy = replace(POLICY, limits=(LIMIT, suspended))
    assert parse(render(policy)) == policy
    assert render(parse(render(policy))) == render(policy)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"limit": float("nan")}, "NaN is not a number"),
        ({"limit": float("inf")}, "Infinity is not a number"),
        ({"limit": -1}, "limits"),
        ({"limit": 5.0}, "Expected `int`, got `float`"),
        ({"limit": True}, "Expected `int`, got `bool`"),
        ({"limit": "5"}, "Expected `int`, got `str`"),
        ({"limit": 2**53}, "limits"),
        ({"limit": 10**30}, "too great"),
        ({"limit": 0}, "limit 0 without suspended"),
        ({"suspended": True}, "or the reverse"),
        ({"burst": 0}, "burst 0"),
        ({"per_seconds": 0}, "per_seconds"),
        ({"kind": "gpus"}, "kind"),
        ({"tenant": None}, "tenant"),
        ({"tenant": ""}, "tenant"),
        ({"tenant": "a\n"}, "tenant"),
        ({"scope": {"model": "*"}}, "api_version"),
        ({"evidence": None}, "evidence"),
        ({"algorithm": "gcra"}, "algorithm"),
    ],
)
def test_a_limit_that_breaks_a_rule_refuses_the_whole_policy(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(CheckRefused, match=reason) as refused:
        parse(pushed(**changes))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("field", ["tenant", "evidence", "per_seconds"])
def test_a_limit_that_lacks_a_field_refuses_the_whole_policy(field: str) -> None:
    document = json.loads(render(POLICY))
    del document["limits"][0][field]
    with pytest.raises(CheckRefused, match=f"missing required field `{field}`"):
        parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"policy@1", b"policy@2", "policy@2"),
        (b'"epoch": 1', b'"epoch": 0', "epoch"),
        (b'"epoch": 1', b'"epoch": 1, "epoch": 2', "same key twice"),
        (b'"want": 50', b'"want": 1e999', "not a number"),
        (b'"concurrency": {', b'"connections": {', "connections"),
        (b"00:00:00Z", b"00:00:00", "timezone"),
        (b"00:00:00Z", b"00:00:00+05:30", "UTC"),
        (b"00:00:01.500000Z", b"00:00:00Z", "expires before it is valid"),
        (b"{", b"[", "refused whole"),
        (b"007", b"\xff", "refused whole"),
    ],
)
def test_a_document_that_is_not_a_policy_is_refused(old: bytes, new: bytes, reason: str) -> None:
    assert old in render(POLICY)
    with pytest.raises(CheckRefused, match=reason):
        parse(render(POLICY).replace(old, new))


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"7", b"[" * 100_000])
def test_other_json_is_refused(data: bytes) -> None:
    with pytest.raises(CheckRefused, match="refused whole"):
        parse(data)


def test_the_same_tenant_scope_and_kind_twice_is_refused() -> None:
    with pytest.raises(CheckRefused, match=r"two limits for \(007, \*, \*, tokens\)"):
        parse(render(replace(POLICY, limits=(LIMIT, replace(LIMIT, limit=51)))))
    other = replace(LIMIT, scope=Scope(model="m", api_version="*"))
    assert len(parse(render(replace(POLICY, limits=(LIMIT, other)))).limits) == 2


def test_a_policy_without_limits_and_one_without_safe_capacity_are_refused() -> None:
    with pytest.raises(CheckRefused, match="limits"):
        parse(render(replace(POLICY, limits=())))
    with pytest.raises(CheckRefused, match="safe_capacity lacks compute, concurrency, requests, tokens"):
        parse(render(replace(POLICY, safe_capacity={})))


@pytest.mark.parametrize("epoch", [4, 5])
def test_an_epoch_that_is_not_newer_is_refused(epoch: int) -> None:
    with pytest.raises(CheckRefused, match="epoch 5 is in force"):
        check_push(replace(POLICY, epoch=epoch), replace(POLICY, epoch=5))
    check_push(replace(POLICY, epoch=6), replace(POLICY, epoch=5))
    check_push(POLICY, None)


@pytest.mark.parametrize("value", [float("nan"), object(), 2**70, {1: 2}, "\ud800"])
def test_evidence_that_json_does_not_carry_is_refused(value: object) -> None:
    with pytest.raises(CheckRefused):
        check_push(replace(POLICY, limits=(replace(LIMIT, evidence={"value": value}),)), None)


def test_limits_are_the_same_whatever_their_evidence_and_epoch() -> None:
    other = replace(LIMIT, kind="requests")
    first = replace(POLICY, limits=(LIMIT, other))
    second = replace(POLICY, epoch=9, release=8, limits=(other, replace(LIMIT, evidence={})))
    assert same_limits(first, second)
    assert not same_limits(first, POLICY)
    assert not same_limits(first, replace(first, limits=(LIMIT, replace(other, burst=51))))
    safer = POLICY.safe_capacity | {"tokens": Rate(limit=1, per_seconds=60, burst=1)}
    assert not same_limits(first, replace(first, safe_capacity=safer))


def test_policies_are_stored_once_each_and_read_by_epoch(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert newest(store) is None
    assert store_policy(store, replace(POLICY, epoch=10))
    assert store_policy(store, replace(POLICY, epoch=9))
    assert not store_policy(store, replace(POLICY, epoch=10, release=4))
    assert store.read("policies/0000000010.json") == render(replace(POLICY, epoch=10))
    assert newest(store) == replace(POLICY, epoch=10)
    assert [policy.epoch for policy in policies(store)] == [9, 10]


def test_a_policy_that_is_not_valid_is_not_stored(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with pytest.raises(CheckRefused):
        store_policy(store, replace(POLICY, limits=(replace(LIMIT, limit=-1),)))
    assert newest(store) is None


def test_a_stored_policy_under_another_epochs_name_is_refused(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write_if_absent("policies/0000000002.json", render(POLICY))
    store.write_if_absent("policies/notes.txt", b"not a policy")
    with pytest.raises(CheckRefused, match="holds epoch 1"):
        newest(store)
