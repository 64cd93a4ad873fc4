"""Limits as rules of Envoy's rate limit service: what the descriptors of a gateway find there."""

from __future__ import annotations

from dataclasses import dataclass

from quotaloop.errors import CheckRefused
from quotaloop.quotas.policy import EVERYTHING, Kind, Limit, Policy, Rate
from quotaloop.sinks.sink import Configuration

UNITS = {  # seconds in what the service calls a unit; its windows are aligned to the epoch
    1: "second",
    60: "minute",
    3_600: "hour",
    86_400: "day",
    7 * 86_400: "week",
    30 * 86_400: "month",
    365 * 86_400: "year",
}
MOST = 2**32 - 1  # requests_per_unit is a uint32
_WILD = "*"  # a value that ends in it is a prefix to the service


@dataclass(frozen=True, slots=True)
class Naming:
    """The domain and the keys of descriptors that gateway and service agree on; ``shadow``: count, refuse nothing."""

    domain: str
    kind_key: str = "kind"
    tenant_key: str = "tenant"
    model_key: str = "model"
    version_key: str = "api_version"
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """``limit`` hits a ``unit`` for descriptors of these (key, value) entries; an empty value: each value by itself.

    The rule called ``name`` does not hold for a request for which one that ``replaces`` it does.
    """

    entries: tuple[tuple[str, str], ...]
    limit: int
    unit: str
    name: str = ""
    replaces: str = ""


def rules(configuration: Configuration, naming: Naming, policy: Policy) -> list[Rule]:
    """One for each limit, and for each kind the safe capacity that holds for whom no other rule of it does.

    The tenant is the last entry: the service counts under all keys and values joined by ``_``, and so an invented
    tenant cannot be spelled like somebody's limit for a model. Raises ``CheckRefused`` for what it cannot hold to the
    unit.
    """
    made = [_safe(configuration, naming, kind, policy.safe_capacity[kind]) for kind in configuration.target.algorithms]
    counted: dict[str, Limit] = {}
    for limit in configuration.limits(policy):
        rule = _rule(configuration, naming, limit)
        other = counted.setdefault(_counter(rule), limit)
        if other is not limit:
            scope = f"model {other.scope.model}, version {other.scope.api_version}"
            raise configuration.refusal(limit, f"it would be counted together with that of {other.tenant} ({scope})")
        made.append(rule)
    return made


def _rule(configuration: Configuration, naming: Naming, limit: Limit) -> Rule:
    identity, scope = configuration.identity(limit.tenant), limit.scope
    entries: list[tuple[str, str]] = [(naming.kind_key, limit.kind)]
    if scope.model != EVERYTHING.model:
        entries.append((naming.model_key, scope.model))
    if scope.api_version != EVERYTHING.api_version:
        entries.append((naming.version_key, scope.api_version))
    entries.append((naming.tenant_key, identity))
    for key, value in entries:
        if value.endswith(_WILD) or not value.isprintable():
            what = "a prefix for many others" if value.endswith(_WILD) else "not printable"
            raise configuration.refusal(limit, f"{key} {value!r} is {what} there")
    if reason := _unheld(limit):
        raise configuration.refusal(limit, reason)
    replaces = "" if scope == EVERYTHING else _safe_name(limit.kind)
    return Rule(tuple(entries), limit.limit, UNITS[limit.per_seconds], replaces=replaces)


def _safe(configuration: Configuration, naming: Naming, kind: Kind, rate: Rate) -> Rule:
    if reason := _unheld(rate):
        raise CheckRefused(f"sink {configuration.name} cannot hold safe_capacity of {kind}: {reason}")
    entries = ((naming.kind_key, kind), (naming.tenant_key, ""))
    return Rule(entries, rate.limit, UNITS[rate.per_seconds], name=_safe_name(kind))


def _safe_name(kind: Kind) -> str:
    return f"safe_capacity of {kind}"


def _unheld(rate: Limit | Rate) -> str:
    """Why the service cannot hold a rate, if it cannot."""
    if rate.limit > MOST:
        return f"{rate.limit} is above {MOST}, the most that the service takes"
    if rate.per_seconds not in UNITS:
        return f"{rate.limit} in {rate.per_seconds} s: its periods are {', '.join(map(str, UNITS))} s"
    return ""


def _counter(rule: Rule) -> str:
    """What the service counts under, but for the domain and the window."""
    return "".join(f"{key}_{value}_" for key, value in rule.entries)
