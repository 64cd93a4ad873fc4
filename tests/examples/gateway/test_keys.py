"""API keys: told once, kept as hashes, found in constant time."""

from __future__ import annotations

import hmac
import json
import re
from pathlib import Path

import pytest

from examples.gateway.keys import Keys, make_keys, read
from quotaloop.edge import Arrival, Identity
from quotaloop.errors import InputUnreadable, UsageError
from quotaloop.events.credentials import found_in


def _arrival(*values: bytes) -> Arrival:
    headers = [(b"authorization", value) for value in values]
    return Arrival(protocol="http", method="GET", path="/", raw_headers=headers)


def test_a_key_is_its_tenants_and_its_id_is_told(tmp_path: Path) -> None:
    made = make_keys(tmp_path / "keys.json", ["acme", "globex"])
    keys = Keys(read(tmp_path / "keys.json"))
    for tenant, key in made.items():
        assert keys.find(key) == Identity(tenant, key.split("_")[1])


def test_the_file_holds_no_secret(tmp_path: Path) -> None:
    key = make_keys(tmp_path / "keys.json", ["acme"])["acme"]
    text = (tmp_path / "keys.json").read_text()
    assert key.split("_")[2] not in text
    (entry,) = json.loads(text)
    assert set(entry) == {"key_id", "tenant", "salt", "hash"}


def test_keys_that_are_there_stay(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first, second = make_keys(path, ["acme"])["acme"], make_keys(path, ["acme"])["acme"]
    keys = Keys(read(path))
    assert first != second
    assert [found.tenant for key in (first, second) if (found := keys.find(key))] == ["acme", "acme"]
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


def test_another_secret_or_id_is_nobodys(tmp_path: Path) -> None:
    made = make_keys(tmp_path / "keys.json", ["acme", "globex"])
    keys = Keys(read(tmp_path / "keys.json"))
    key, other = made["acme"], made["globex"]
    changed = key[:-1] + ("0" if key[-1] != "0" else "1")
    mixed = "_".join([*key.split("_")[:2], other.split("_")[2]])
    unknown = f"ql_{'0' * 12}_{key.split('_')[2]}"
    for wrong in (changed, mixed, unknown, key[:-1], key + "0", key.upper(), f" {key}", "", "ql__", "ql_é_ü"):
        assert keys.find(wrong) is None


def test_nobodys_entry_is_nobodys() -> None:
    assert Keys([]).find(f"ql_{'0' * 12}_{'0' * 40}") is None


def test_secrets_are_compared_in_constant_time_also_of_unknown_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_keys(tmp_path / "keys.json", ["acme"])["acme"]
    keys = Keys(read(tmp_path / "keys.json"))
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def watched(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    keys.find(key)
    keys.find(f"ql_{'0' * 12}_{'0' * 40}")
    assert compared == [(64, 64), (64, 64)]


@pytest.mark.parametrize(
    ("before", "is_one"), [(b"Bearer ", True), (b"bearer  ", True), (b"Basic ", False), (b"", False)]
)
def test_a_key_is_sent_as_a_bearer_token(tmp_path: Path, before: bytes, is_one: bool) -> None:
    key = make_keys(tmp_path / "keys.json", ["acme"])["acme"]
    keys = Keys(read(tmp_path / "keys.json"))
    assert (keys.identify(_arrival(before + key.encode())) is not None) is is_one


def test_a_request_without_a_key_or_with_odd_bytes_is_nobodys() -> None:
    assert Keys([]).identify(_arrival()) is None
    assert Keys([]).identify(_arrival(b"Bearer \xff\xfe")) is None


def test_a_key_looks_like_no_live_credential_of_others(tmp_path: Path) -> None:
    key = make_keys(tmp_path / "keys.json", ["acme"])["acme"]
    assert re.fullmatch(r"ql_[0-9a-f]{12}_[0-9a-f]{40}", key)
    assert not found_in(key)


@pytest.mark.parametrize("text", ["", "{}", "[{}]", '[{"key_id": "zz", "tenant": "a", "salt": "", "hash": ""}]'])
def test_a_file_that_is_none_of_keys_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(InputUnreadable, match="no file of keys"):
        read(tmp_path / "keys.json")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputUnreadable):
        read(tmp_path / "keys.json")


def test_a_tenant_that_no_event_may_name_gets_no_key(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no name of a tenant"):
        make_keys(tmp_path / "keys.json", ["acme", "a b"])
    assert list(tmp_path.iterdir()) == []
