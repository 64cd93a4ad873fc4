"""The sinks that the settings name, each with how its limiter decides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, get_args

from quotaloop.errors import UsageError
from quotaloop.quotas.policy import KINDS, Kind
from quotaloop.quotas.target import TOKEN_CLASSES, Algorithm, Manner, Target, TokenClass
from quotaloop.settings import Settings
from quotaloop.sinks.sink import Configuration, Sink, SinkType
from quotaloop.storage.store import Store

GROUP = "quotaloop.sinks"
_ALWAYS = {"file": {"type": "file"}}
_OF_EVERY_SINK = frozenset({"type", "algorithms", "after", "replicas", "token_classes", "tenants"})
_SPELLINGS = {"gcra": "token_bucket"}


def sinks(settings: Settings, store: Store) -> list[Sink]:
    """All sinks, by name; the file sink ``file`` is among them unless it is told otherwise.

    The setting ``sinks`` is a table a sink: its ``type`` (an entry point of the group ``quotaloop.sinks``), the
    options of that type, and those of every sink: ``algorithms`` (kind to algorithm; kinds that are left out are not
    limited there), ``after`` (kinds that are charged when the response has ended), ``token_classes`` (what of tokens is
    charged), ``replicas`` (instances that count by themselves) and ``tenants`` (tenant to identity there). Raises
    ``UsageError``.
    """
    tables = _ALWAYS | _tables(settings.sinks)
    return [_made(name, tables[name], settings, store) for name in sorted(tables)]


def _made(name: str, table: Mapping[str, Any], settings: Settings, store: Store) -> Sink:
    kind_of_sink = _type(name, table.get("type"))
    if unknown := sorted(table.keys() - _OF_EVERY_SINK - kind_of_sink.options):
        raise UsageError(f"sink {name}: {', '.join(unknown)}: not an option of type {table['type']}")
    options = {option: value for option, value in table.items() if option not in _OF_EVERY_SINK}
    target = _target(name, table, kind_of_sink)
    return kind_of_sink(Configuration(name, options, target, _tenants(name, table), settings, store))


def _tables(text: str) -> dict[str, dict[str, Any]]:
    try:
        tables = json.loads(text) if text else {}
    except ValueError as error:
        raise UsageError(f"setting sinks is not JSON: {error}") from error
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise UsageError("setting sinks is a table a sink: [sinks.NAME] in the file, JSON in the environment")
    return tables


def _type(name: str, word: object) -> SinkType:
    found = {point.name: point for point in entry_points(group=GROUP)}
    if word not in found:
        raise UsageError(f"sink {name}: type {word!r} is none of {', '.join(sorted(found))}")
    try:
        made: SinkType = found[str(word)].load()
    except ImportError as error:
        raise UsageError(f"sink {name}: type {word} needs a package that is not installed: {error}") from error
    return made


def _target(name: str, table: Mapping[str, Any], kind_of_sink: SinkType) -> Target:
    usual = kind_of_sink.usual
    manner = Manner(usual.manner.together, usual.manner.counts_refused, _replicas(name, table))
    return Target(
        algorithms=_algorithms(name, table["algorithms"], kind_of_sink) if "algorithms" in table else usual.algorithms,
        manner=manner,
        after=frozenset(_words(name, table, "after", KINDS)) if "after" in table else usual.after,
        token_classes=_token_classes(name, table) if "token_classes" in table else usual.token_classes,
    )


def _algorithms(name: str, chosen: object, kind_of_sink: SinkType) -> Mapping[Kind, Algorithm]:
    if not isinstance(chosen, dict) or not chosen:
        raise UsageError(f"sink {name}: algorithms is a table of kinds, such as {{requests = 'fixed_window'}}")
    found: dict[Kind, Algorithm] = {}
    for kind, word in chosen.items():
        if kind not in kind_of_sink.choices:
            able = ", ".join(kind_of_sink.choices)
            raise UsageError(f"sink {name}: it cannot limit {kind}, but {able}")
        algorithm = _SPELLINGS.get(str(word), word)
        if algorithm not in kind_of_sink.choices[kind]:
            able = ", ".join(sorted(kind_of_sink.choices[kind]))
            raise UsageError(f"sink {name}: it counts {kind} by {able}, not by {word}")
        found[kind] = algorithm
    return found


def _replicas(name: str, table: Mapping[str, Any]) -> int:
    replicas = table.get("replicas", 1)
    if type(replicas) is not int or replicas < 1:
        raise UsageError(f"sink {name}: replicas is a whole number above 0, not {replicas!r}")
    return replicas


def _token_classes(name: str, table: Mapping[str, Any]) -> frozenset[TokenClass]:
    found = frozenset(_words(name, table, "token_classes", TOKEN_CLASSES))
    if not found:
        raise UsageError(f"sink {name}: token_classes names at least one of {', '.join(get_args(TokenClass))}")
    return found


def _words(name: str, table: Mapping[str, Any], option: str, known: tuple[Any, ...]) -> list[Any]:
    words = table[option]
    if not isinstance(words, list) or not set(map(str, words)) <= set(known):
        raise UsageError(f"sink {name}: {option} is a list of {', '.join(known)}")
    return words


def _tenants(name: str, table: Mapping[str, Any]) -> Mapping[str, str]:
    """The identity map; no two tenants are one to the limiter, which would count them together under either's limit.

    Identities may be keys, so no message names them.
    """
    found = table.get("tenants", {})
    if not isinstance(found, dict) or not all(isinstance(identity, str) and identity for identity in found.values()):
        raise UsageError(f"sink {name}: tenants is a table of tenants, such as {{acme = 'team-7'}}")
    owners: dict[str, str] = {}
    for tenant, identity in sorted(found.items()):
        if owners.setdefault(identity, tenant) != tenant:
            raise UsageError(f"sink {name}: tenants {owners[identity]} and {tenant} have the same identity")
    return found
