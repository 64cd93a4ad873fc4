"""A cluster in this process, in the place of brokers, and the command line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.ingest import land
from quotaloop.raw.kafka import consumer, copy, landing
from quotaloop.storage.local import LocalStore
from tests.cli.calling import called
from tests.raw.kafka.memory import Memory

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A store on this disk."""
    return LocalStore(tmp_path / "store")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """The cluster that every client in this process asks."""
    made = Memory()
    monkeypatch.setattr(landing, "Broker", made.broker)
    monkeypatch.setattr(copy, "Broker", made.broker)
    monkeypatch.setattr(land, "Broker", made.broker)
    monkeypatch.setattr(consumer, "Consumer", made.consumer)
    return made


@pytest.fixture
def call(store: LocalStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """``land kafka`` with these words: exit code, standard output, standard error."""
    for name in [*os.environ]:
        if name.startswith("QUOTALOOP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("QUOTALOOP_STORE", store.url)
    monkeypatch.setenv("QUOTALOOP_KAFKA_BROKERS", "127.0.0.1:1")
    monkeypatch.setenv("QUOTALOOP_PATIENCE", "300ms")
    monkeypatch.setenv("COLUMNS", "300")

    def run(*words: str) -> tuple[int, str, str]:
        return called(monkeypatch, capsys, "land", "kafka", *words)

    return run
