"""The limits file of LiteLLM and the hook that reads it: whole or refused, no keys in it, the last good one held."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from quotaloop.errors import CheckRefused
from quotaloop.quotas.policy import Policy, epoch_ms, instant
from quotaloop.sinks.litellm.auth import LimitsOfKeys, parsed
from quotaloop.sinks.sink import Sink
from tests.sinks.pushes import GOOD, REFUSED, limit, policy
from tests.sinks.test_litellm import KEYS, MODEL
from tests.sinks.test_litellm import sink as made

ACME = hashlib.sha256(b"sk-of-acme").hexdigest()
NOW_MS = 1_800_000_000_000


@pytest.fixture
def sink(tmp_path: Path) -> Sink:
    return made(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "limits.json"


def test_the_file_holds_hashes_and_limits_and_no_key(sink: Sink, file: Path) -> None:
    sink.publish(GOOD)
    document = parsed(file.read_bytes())
    assert document["epoch"] == 7
    assert document["keys"][ACME] == {
        "tenant": "acme",
        "rpm_limit": 50,
        "tpm_limit": 9_000,
        "max_parallel_requests": 1,
        "model_rpm_limit": {},
        "model_tpm_limit": {},
    }
    assert sorted(key["tenant"] for key in document["keys"].values()) == ["acme", "globex", "idle"]
    assert b"sk-" not in file.read_bytes()
    assert (sink.epoch(), sink.drift(GOOD)) == (7, [])


@pytest.mark.parametrize("refused", REFUSED)
def test_a_policy_that_is_not_valid_or_older_leaves_the_last_good_one(sink: Sink, refused: Policy) -> None:
    sink.publish(GOOD)
    with pytest.raises(CheckRefused, match="refused whole"):
        sink.publish(refused)
    assert sink.drift(GOOD) == []


def test_publishing_twice_is_the_same_as_once(sink: Sink, file: Path) -> None:
    sink.publish(GOOD)
    before = file.stat().st_ino
    sink.publish(GOOD)
    assert file.stat().st_ino == before


def test_drift_names_tenant_and_field(sink: Sink, file: Path) -> None:
    assert sink.drift(GOOD) == [f"{file} is missing"]
    sink.publish(GOOD)
    document = json.loads(file.read_bytes())
    document["keys"][ACME]["rpm_limit"] = 90
    document["expires_at_ms"] += 1
    document["keys"]["0" * 64] = document["keys"].pop(KEYS["globex"])
    file.write_text(json.dumps(document))
    assert sink.drift(GOOD) == [
        "expires_at_ms is not as published",
        "acme: rpm_limit is 90, not 50",
        "globex: its key is missing",
        "key 00000000... is of no tenant",
    ]
    sink.publish(GOOD)
    assert sink.drift(GOOD) == []
    assert sink.drift(replace(GOOD, epoch=8)) == [f"{file} holds policy 7"]


def test_the_same_in_other_bytes_is_drift_and_is_mended(sink: Sink, file: Path) -> None:
    sink.publish(GOOD)
    file.write_bytes(file.read_bytes() + b"\n")
    assert sink.drift(GOOD) == [f"{file} is not policy 7 as published, somebody changed it"]
    sink.publish(GOOD)
    assert sink.drift(GOOD) == []


def test_drift_stops_at_the_first_hundred(tmp_path: Path) -> None:
    sink = made(tmp_path, tenants={f"t{number}": f"sk-{number}" for number in range(120)})
    sink.publish(policy(7, limit("t0", "requests", 5)))
    others = policy(7, *(limit(f"t{number}", "requests", 6) for number in range(120)))
    assert len(sink.drift(others)) == 100


@pytest.mark.parametrize("damaged", [b"{", b"[]", b'{"format": "quotaloop/litellm-limits@2"}', b"[" * 100_000])
def test_a_damaged_file_is_not_written_over(sink: Sink, file: Path, damaged: bytes) -> None:
    file.write_bytes(damaged)
    with pytest.raises(CheckRefused, match="remove it and publish again"):
        sink.publish(GOOD)
    assert file.read_bytes() == damaged
    assert sink.drift(GOOD)[0].startswith(f"{file} is not a limits file")


def test_a_push_that_is_killed_leaves_the_file_before(sink: Sink, tmp_path: Path) -> None:
    sink.publish(GOOD)
    code = f"""
from pathlib import Path
from tests.sinks.pushes import GOOD, replace
from tests.sinks.test_litellm import sink
sink(Path({str(tmp_path)!r})).publish(replace(GOOD, epoch=8))
"""
    killed = {"QUOTALOOP_KILL_AT": "litellm:checked", "PYTHONPATH": ".:src"}
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], env=killed, cwd=root, check=False).returncode == -9
    assert sink.drift(GOOD) == []
    sink.publish(replace(GOOD, epoch=8))
    assert sink.epoch() == 8


def test_the_hook_gives_each_key_its_limits(sink: Sink, file: Path) -> None:
    sink.publish(
        policy(
            7, limit("acme", "requests", 50), limit("acme", "requests", 5, scope=MODEL), limit("globex", "tokens", 0)
        )
    )
    limits = LimitsOfKeys(file)
    assert limits.of("sk-of-acme", NOW_MS) == {
        "api_key": ACME,
        "user_id": "acme",
        "rpm_limit": 50,
        "tpm_limit": 1,
        "max_parallel_requests": 1,
        "metadata": {"model_rpm_limit": {"gpt-5": 5}},
    }
    suspended = limits.of("sk-of-globex", NOW_MS)
    assert suspended is not None
    assert suspended["tpm_limit"] == 0


@pytest.mark.parametrize("key", ["sk-of-nobody", "", ACME, "acme"])
def test_the_hook_knows_no_other_key_and_takes_no_hash_for_one(sink: Sink, file: Path, key: str) -> None:
    sink.publish(GOOD)
    assert LimitsOfKeys(file).of(key, NOW_MS) is None


def test_outside_the_time_of_the_policy_the_hook_gives_safe_capacity(sink: Sink, file: Path) -> None:
    short = replace(GOOD, valid_from=instant(NOW_MS), expires_at=instant(NOW_MS + 10))
    sink.publish(short)
    limits = LimitsOfKeys(file)
    numbers = [limits.of("sk-of-acme", epoch_ms(short.valid_from) + ms) for ms in (-1, 0, 9, 10)]
    assert [found and (found["rpm_limit"], found["tpm_limit"]) for found in numbers] == [
        (1, 1),
        (50, 9_000),
        (50, 9_000),
        (1, 1),
    ]


def test_the_hook_reads_a_new_file_at_once_and_keeps_the_last_good_one(
    sink: Sink, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = LimitsOfKeys(file)
    with pytest.raises(LookupError, match="no limits"):
        limits.of("sk-of-acme", NOW_MS)
    sink.publish(GOOD)
    assert rpm(limits) == 50
    newer = policy(8, limit("acme", "requests", 70))
    sink.publish(newer)
    assert rpm(limits) == 70
    good = file.read_bytes()
    caplog.set_level(logging.ERROR)
    for bad in (
        good[:-20],
        good.replace(b'"rpm_limit": 70', b'"rpm_limit": -1'),
        good.replace(b'"rpm_limit": 70', b'"rpm_limit": 70.5'),
        good.replace(b'"rpm_limit": 70', b'"rpm_limit": true'),
        good.replace(b'"rpm_limit": 70', b'"rpm_limit": null'),
        good.replace(b'"rpm_limit": 70', b'"rpm_limits": 70'),
        good.replace(b'"epoch": 8', b'"epoch": 7').replace(b"70", b"60"),
        good.replace(ACME.encode(), b"sk-of-acme"),
        good.replace(b'"tenant": "acme"', b'"tenant": ""'),
    ):
        assert bad != good
        caplog.clear()
        file.write_bytes(bad)
        assert rpm(limits) == 70
        assert "is not used" in caplog.text
    file.unlink()
    assert rpm(limits) == 70
    sink.publish(replace(newer, epoch=9, limits=(limit("acme", "requests", 90),)))
    assert rpm(limits) == 90


def rpm(limits: LimitsOfKeys) -> Any:
    found = limits.of("sk-of-acme", NOW_MS)
    return found and found["rpm_limit"]


def test_the_hook_reads_a_file_once_and_logs_a_bad_one_once(
    sink: Sink, file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr("quotaloop.sinks.litellm.auth.parsed", lambda data: read.append(data) or parsed(data))
    sink.publish(GOOD)
    limits = LimitsOfKeys(file)
    assert [rpm(limits) for _ in range(3)] == [50, 50, 50]
    file.write_bytes(b"{")
    assert [rpm(limits) for _ in range(3)] == [50, 50, 50]
    assert (len(read), len(caplog.records)) == (2, 1)
