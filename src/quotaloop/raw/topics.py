"""What a topic's folder holds, said once by its first landing: ``raw/<topic>/_topic.json``."""

from __future__ import annotations

import json
from typing import Any

from quotaloop.errors import UsageError
from quotaloop.storage.store import Store


def declare(store: Store, topic: str, declaration: dict[str, Any]) -> None:
    """Write the declaration if the topic has none; raises ``UsageError`` if it has another."""
    path = f"raw/{topic}/_topic.json"
    text = json.dumps(declaration, sort_keys=True) + "\n"
    if store.write_if_absent(path, text.encode()):
        return
    there = json.loads(store.read(path))
    if there != declaration:
        raise UsageError(
            f"topic {topic} holds {there.get('source')} in format {there.get('format')}, "
            f"not {declaration.get('source')} in format {declaration.get('format')}; choose another --topic"
        )
