"""The file sink: whole or refused, never older, read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.quotas.policy import Policy, parse, render
from quotaloop.sinks.file import FileSink
from quotaloop.sinks.sink import Sink
from quotaloop.storage.local import LocalStore
from tests.sinks.pushes import GOOD, REFUSED
from tests.sinks.pushes import sink as made

PUBLISHED = "published/policy.json"


@pytest.fixture
def sink(tmp_path: Path) -> Sink:
    return made(FileSink, tmp_path)


def lies(sink: Sink) -> bytes:
    return sink.configuration.store.read(PUBLISHED)


def test_the_published_file_is_the_policy_byte_for_byte(sink: Sink) -> None:
    assert (sink.epoch(), sink.drift(GOOD)) == (None, [f"{PUBLISHED} is missing"])
    sink.publish(GOOD)
    assert lies(sink) == render(GOOD)
    assert (sink.epoch(), sink.drift(GOOD)) == (7, [])


def test_a_newer_epoch_takes_the_place_of_the_older(sink: Sink) -> None:
    newer = replace(GOOD, epoch=8)
    sink.publish(GOOD)
    assert sink.drift(newer) == [f"{PUBLISHED} holds policy 7"]
    sink.publish(newer)
    assert parse(lies(sink)) == newer


@pytest.mark.parametrize("refused", REFUSED)
def test_a_policy_that_is_not_valid_or_older_leaves_the_last_good_one(sink: Sink, refused: Policy) -> None:
    sink.publish(GOOD)
    with pytest.raises(CheckRefused, match="refused whole"):
        sink.publish(refused)
    assert sink.drift(GOOD) == []


def test_publishing_twice_is_the_same_as_once(sink: Sink, tmp_path: Path) -> None:
    sink.publish(GOOD)
    before = (tmp_path / "store" / PUBLISHED).stat().st_ino
    sink.publish(GOOD)
    assert (tmp_path / "store" / PUBLISHED).stat().st_ino == before


def test_a_file_that_somebody_changed_is_drift_until_it_is_published_again(sink: Sink) -> None:
    sink.publish(GOOD)
    sink.configuration.store.replace(PUBLISHED, render(GOOD).replace(b'"limit": 50', b'"limit": 90'))
    assert sink.drift(GOOD) == [f"{PUBLISHED} is not policy 7 as published, somebody changed it"]
    sink.publish(GOOD)
    assert sink.drift(GOOD) == []


def test_the_same_policy_in_other_bytes_is_drift_and_is_mended(sink: Sink) -> None:
    sink.configuration.store.replace(PUBLISHED, render(GOOD) + b"\n")
    assert sink.drift(GOOD) == [f"{PUBLISHED} is not policy 7 as published, somebody changed it"]
    sink.publish(GOOD)
    assert sink.drift(GOOD) == []


def test_a_damaged_file_is_drift_and_is_mended(sink: Sink) -> None:
    damaged = b'{"format": "quotaloop/policy@2"}'
    sink.configuration.store.replace(PUBLISHED, damaged)
    assert sink.drift(GOOD)[0].startswith(f"{PUBLISHED} is not a policy")
    sink.publish(GOOD)
    assert sink.drift(GOOD) == []


class TornStore(LocalStore):
    """A disk that keeps only the first half of what is written."""

    def replace(self, path: str, data: bytes) -> None:
        super().replace(path, data[: len(data) // 2])


def test_a_write_that_does_not_read_back_the_same_is_drift(tmp_path: Path) -> None:
    sink = made(FileSink, tmp_path)
    torn = FileSink(replace_store(sink, TornStore(tmp_path)))
    torn.publish(GOOD)
    assert torn.drift(GOOD)


def replace_store(sink: Sink, store: LocalStore):  # type: ignore[no-untyped-def]
    from dataclasses import replace as changed

    return changed(sink.configuration, store=store)


def test_the_path_is_the_configured_one_and_in_the_store(tmp_path: Path) -> None:
    sink = made(FileSink, tmp_path, path="edge/limits.json")
    sink.publish(GOOD)
    assert parse(sink.configuration.store.read("edge/limits.json")) == GOOD
    for path in ("/etc/limits.json", "../limits.json", 7):
        with pytest.raises(UsageError, match="path is one of the store"):
            made(FileSink, tmp_path, path=path)
