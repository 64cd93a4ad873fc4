"""What a topic's folder holds, said once by its first landing: ``raw/<topic>/_topic.json``."""

from __future__ import annotations

import json
from typing import Any

from quotaloop.errors import UsageError
from quotaloop.storage.store import Store


def check(store: Store, topic: str, declaration: dict[str, Any]) -> None:
    """Raise ``UsageError`` if the topic has another declaration."""
    path = _path(topic)
    if store.exists(path):
        _check(topic, json.loads(store.read(path)), declaration)


def declare(store: Store, topic: str, declaration: dict[str, Any]) -> None:
    """Write the declaration if the topic has none; raises ``UsageError`` if it has another."""
    path = _path(topic)
    text = json.dumps(declaration, sort_keys=True) + "\n"
    if store.write_if_absent(path, text.encode()):
        return
    _check(topic, json.loads(store.read(path)), declaration)


def _path(topic: str) -> str:
    return f"raw/{topic}/_topic.json"


def _check(topic: str, there: dict[str, Any], declaration: dict[str, Any]) -> None:
    if there != declaration:
        raise UsageError(
            f"topic {topic} holds {there.get('source')} in format {there.get('format')}, "
            f"not {declaration.get('source')} in format {declaration.get('format')}; choose another --topic"
        )
