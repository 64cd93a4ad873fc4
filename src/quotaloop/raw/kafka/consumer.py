"""A consumer for as long as something is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer

from quotaloop.raw.kafka.access import Access
from quotaloop.raw.kafka.problems import translated


@contextmanager
def consumer(access: Access, **changes: str) -> Iterator[Consumer]:
    """One by the settings of ``Access.consumer`` and these; raises ``UsageError`` where they cannot be."""
    with translated(access):
        opened = Consumer(access.consumer() | changes)
    try:
        yield opened
    finally:
        opened.close()
