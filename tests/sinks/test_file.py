"""The file sink: whole or refused, never older, read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from quotaloop.errors import CheckRefused
from quotaloop.quotas.policy import KINDS, Limit, Policy, Rate, Scope, instant, render
from quotaloop.sinks.file import publish, read_back, verify
from quotaloop.storage.local import LocalStore

LIMIT = Limit(
    tenant="a",
    scope=Scope(model="*", api_version="*"),
    kind="requests",
    limit=5,
    per_seconds=60,
    burst=5,
    evidence={},
)
POLICY = Policy(
    format="quotaloop/policy@1",
    epoch=7,
    release=1,
    created_at=instant(0),
    valid_from=instant(0),
    expires_at=instant(1000),
    limits=(LIMIT,),
    safe_capacity={kind: Rate(limit=1, per_seconds=60, burst=1) for kind in KINDS},
)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_the_published_file_is_the_policy_byte_for_byte(store: LocalStore) -> None:
    assert read_back(store) is None
    publish(store, POLICY)
    assert store.read("published/policy.json") == render(POLICY)
    assert read_back(store) == POLICY
    verify(store, POLICY)


def test_a_newer_epoch_takes_the_place_of_the_older(store: LocalStore) -> None:
    publish(store, POLICY)
    publish(store, replace(POLICY, epoch=8))
    assert read_back(store) == replace(POLICY, epoch=8)


def test_an_older_epoch_and_another_policy_of_the_same_epoch_are_refused(store: LocalStore) -> None:
    publish(store, POLICY)
    for refused in (replace(POLICY, epoch=6), replace(POLICY, release=2)):
        with pytest.raises(CheckRefused, match="epoch 7 is in force"):
            publish(store, refused)
    verify(store, POLICY)


def test_an_invalid_policy_leaves_the_last_good_one(store: LocalStore) -> None:
    publish(store, POLICY)
    with pytest.raises(CheckRefused, match="refused whole"):
        publish(store, replace(POLICY, epoch=8, limits=(LIMIT, LIMIT)))
    verify(store, POLICY)


def test_publishing_twice_is_the_same_as_once(store: LocalStore) -> None:
    publish(store, POLICY)
    before = (store.root / "published/policy.json").stat().st_ino
    publish(store, POLICY)
    assert (store.root / "published/policy.json").stat().st_ino == before


def test_a_file_that_somebody_changed_is_drift_until_a_newer_policy_comes(store: LocalStore) -> None:
    publish(store, POLICY)
    store.replace("published/policy.json", render(POLICY).replace(b'"limit": 5', b'"limit": 9'))
    with pytest.raises(CheckRefused, match="not policy 7 as published"):
        verify(store, POLICY)
    publish(store, replace(POLICY, epoch=8))
    verify(store, replace(POLICY, epoch=8))


def test_the_same_policy_in_other_bytes_is_drift_and_is_mended(store: LocalStore) -> None:
    store.replace("published/policy.json", render(POLICY) + b"\n")
    with pytest.raises(CheckRefused, match="not policy 7 as published"):
        verify(store, POLICY)
    publish(store, POLICY)
    verify(store, POLICY)


def test_a_missing_file_is_drift(store: LocalStore) -> None:
    with pytest.raises(CheckRefused, match="is missing"):
        verify(store, POLICY)


def test_a_damaged_file_is_not_written_over(store: LocalStore) -> None:
    store.replace("published/policy.json", b'{"format": "quotaloop/policy@2"}')
    with pytest.raises(CheckRefused, match="remove it and publish again"):
        publish(store, POLICY)
    assert store.read("published/policy.json") == b'{"format": "quotaloop/policy@2"}'


class TornStore(LocalStore):
    """A disk that keeps only the first half of what is written."""

    def replace(self, path: str, data: bytes) -> None:
        super().replace(path, data[: len(data) // 2])


def test_a_write_that_does_not_read_back_the_same_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckRefused, match="not policy 7 as published"):
        publish(TornStore(tmp_path), POLICY)


def test_the_path_is_the_configured_one(store: LocalStore) -> None:
    publish(store, POLICY, path="edge/limits.json")
    assert read_back(store, path="edge/limits.json") == POLICY
    assert read_back(store) is None
