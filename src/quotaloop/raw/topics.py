"""What a topic's folder holds, said once by its first landing: ``raw/<topic>/_topic.json``."""

from __future__ import annotations

import json
import re
from typing import Any

from quotaloop.errors import UsageError
from quotaloop.storage.store import Store

_DECLARATION = re.compile(r"raw/([^/]+)/_topic\.json")
_GENERATION = re.compile(r"(.+)@([0-9]+)")


def check(store: Store, topic: str, declaration: dict[str, Any]) -> None:
    """Raise ``UsageError`` if the topic has another declaration."""
    _check(topic, read(store, topic) or declaration, declaration)


def declare(store: Store, topic: str, declaration: dict[str, Any]) -> None:
    """Write the declaration if the topic has none; raises ``UsageError`` if it has another."""
    _check(topic, write(store, topic, declaration), declaration)


def read(store: Store, topic: str) -> dict[str, Any] | None:
    """The topic's declaration, None if it has none."""
    try:
        found: dict[str, Any] = json.loads(store.read(_path(topic)))
    except FileNotFoundError:
        return None
    return found


def write(store: Store, topic: str, declaration: dict[str, Any]) -> dict[str, Any]:
    """Write the declaration if the topic has none; the one that it has now."""
    store.write_if_absent(_path(topic), (json.dumps(declaration, sort_keys=True) + "\n").encode())
    return read(store, topic) or declaration


def declared(store: Store) -> dict[str, str]:
    """Topics of the raw zone with their source: ``files`` or ``kafka``."""
    found = (_DECLARATION.fullmatch(info.path) for info in store.files("raw"))
    return {match[1]: json.loads(store.read(match[0]))["source"] for match in found if match}


def successor(name: str) -> str:
    """The name of a topic that was made again: ``t@2`` after ``t``."""
    match = _GENERATION.fullmatch(name)
    return f"{match[1]}@{int(match[2]) + 1}" if match else f"{name}@2"


def _path(topic: str) -> str:
    return f"raw/{topic}/_topic.json"


def _check(topic: str, there: dict[str, Any], declaration: dict[str, Any]) -> None:
    if there != declaration:
        raise UsageError(
            f"topic {topic} holds {there.get('source')} in format {there.get('format')}, "
            f"not {declaration.get('source')} in format {declaration.get('format')}; choose another --topic"
        )
