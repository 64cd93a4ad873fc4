"""Fixtures of the tests with real servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.raw_zone import RawZone
from tests.cluster.topics import Topic, new_topic
from tests.servers import Cluster


@pytest.fixture(scope="session")
def brokers(cluster: Cluster) -> str:
    """The address of a broker."""
    cluster.up("kafka")
    return cluster.environment["QUOTALOOP_KAFKA_BROKERS"]


@pytest.fixture
def topic(brokers: str) -> Topic:
    """A topic of one partition, which no other test knows."""
    return new_topic(brokers)


@pytest.fixture
def zone(tmp_path: Path, brokers: str) -> RawZone:
    """A store on this disk that lands from the broker."""
    return RawZone(tmp_path / "store", brokers)
