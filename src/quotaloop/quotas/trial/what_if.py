"""A policy with some limits other than they are: what would be if."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.quotas.derivation.periods import PER_SECONDS
from quotaloop.quotas.policy import KINDS, Kind, Limit, Policy, Scope, check_push

_WORDS = ("tenant", "limit", "kind", "burst", "per_seconds", "model", "api_version")


def what_if(policy: Policy, changes: Iterable[str]) -> Policy:
    """The policy with limits such as ``tenant=acme,limit=150000``; what is not said is as it was.

    ``kind`` is tokens unless it is given; without ``burst`` it changes as the limit does, and for a new limit is one
    period's worth; ``limit=0`` suspends. Raises ``UsageError`` for what cannot be read or cannot be a limit.
    """
    for text in changes:
        limit = _limit(policy, text)
        others = tuple(one for one in policy.limits if _key(one) != _key(limit))
        policy = replace(policy, limits=tuple(sorted((*others, limit), key=_key)))
        try:
            check_push(policy, None)
        except CheckRefused as error:
            raise UsageError(f"--what-if {text}: {error}") from error
    return policy


def _limit(policy: Policy, text: str) -> Limit:
    words = _words(text)
    kind = _kind(text, words.get("kind", "tokens"))
    scope = Scope(model=words.get("model", "*"), api_version=words.get("api_version", "*"))
    key = (words["tenant"], scope, kind)
    old = next((one for one in policy.limits if _key(one) == key), None)
    amount = _number(text, words["limit"])
    burst = _number(text, words["burst"]) if "burst" in words else _burst(amount, old)
    usual = old.per_seconds if old else PER_SECONDS[kind]
    per_seconds = _number(text, words["per_seconds"]) if "per_seconds" in words else usual
    return Limit(
        tenant=words["tenant"],
        scope=scope,
        kind=kind,
        limit=amount,
        per_seconds=per_seconds,
        burst=burst if amount else 0,
        evidence={"bound_by": "what_if"},
        suspended=amount == 0,
    )


def _burst(amount: int, old: Limit | None) -> int:
    return max(old.burst * amount // old.limit, 1) if old is not None and old.limit else amount


def _words(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    words = {name.strip(): value.strip() for name, _, value in pairs}
    if len(words) < len(pairs) or not words.keys() <= set(_WORDS) or not {"tenant", "limit"} <= words.keys():
        raise UsageError(
            f"--what-if {text}: write tenant=NAME,limit=NUMBER, and of {', '.join(_WORDS[2:])} what matters"
        )
    return words


def _kind(text: str, word: str) -> Kind:
    for kind in KINDS:
        if kind == word:
            return kind
    raise UsageError(f"--what-if {text}: kind is one of {', '.join(KINDS)}")


def _number(text: str, word: str) -> int:
    if not word.isascii() or not word.isdigit():
        raise UsageError(f"--what-if {text}: {word!r} is not a whole number")
    return int(word)


def _key(limit: Limit) -> tuple[str, Scope, str]:
    return limit.tenant, limit.scope, limit.kind
