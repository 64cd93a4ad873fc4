"""What policies are published to: what every sink does, and what it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from quotaloop.errors import CheckRefused
from quotaloop.quotas.policy import Kind, Limit, Policy
from quotaloop.quotas.target import Algorithm, Target
from quotaloop.settings import Settings
from quotaloop.storage.store import Store


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a sink is made of: its name and its own ``options`` in the settings, how its limiter decides, and the rest.

    ``tenants`` is the identity map: who a tenant is to the limiter, where that is not its own name.
    """

    name: str
    options: Mapping[str, Any]
    target: Target
    tenants: Mapping[str, str]
    settings: Settings
    store: Store

    def identity(self, tenant: str) -> str:
        """Who the tenant is to the limiter."""
        return self.tenants.get(tenant, tenant)

    def limits(self, policy: Policy) -> Iterator[Limit]:
        """The limits of the kinds that the limiter counts, in the order of the policy."""
        return (limit for limit in policy.limits if limit.kind in self.target.algorithms)

    def refusal(self, limit: Limit, reason: str) -> CheckRefused:
        """The error for a limit that cannot be written there."""
        scope = f"model {limit.scope.model}, version {limit.scope.api_version}"
        return CheckRefused(f"sink {self.name} cannot hold {limit.tenant}, {limit.kind} ({scope}): {reason}")


class Sink(Protocol):
    """A place that policies are published to; made of a ``Configuration``.

    A policy is there whole or not in force: where a push cannot be one step, ``drift`` shows one that was cut off, and
    the next ``publish``, of the same policy or of a newer one, ends it. All raise ``ServiceUnreachable`` where it does
    not answer.
    """

    @property
    def configuration(self) -> Configuration:
        """What it is made of."""
        ...

    def check(self, policy: Policy) -> None:
        """Raises ``CheckRefused`` for a policy that is not valid as a whole, or that cannot be held there exactly.

        It names the limit; nothing is written, nothing is asked over the network.
        """
        ...

    def publish(self, policy: Policy) -> None:
        """Put the policy in force; again changes nothing, but mends what differs.

        Raises ``CheckRefused`` for what ``check`` refuses and where a newer epoch is there; what was in force stays.
        """
        ...

    def epoch(self) -> int | None:
        """The greatest epoch of what lies there, also of a push that was cut off; None where nothing was published."""
        ...

    def drift(self, policy: Policy) -> list[str]:
        """What is not as published, a line each, the first hundred; none: the policy is in force, to the unit."""
        ...


class SinkType(Protocol):
    """What an entry point of the group ``quotaloop.sinks`` names: usually the class of a sink."""

    usual: Target  # how its limiter decides unless the settings say otherwise
    choices: Mapping[Kind, frozenset[Algorithm]]  # what the settings may say of a kind; it has no other kinds
    options: frozenset[str]  # names in its table of the settings, besides those that every sink has

    def __call__(self, configuration: Configuration, /) -> Sink:
        """The sink; raises ``UsageError`` for options that it cannot use. Nothing is asked over the network yet."""
        ...
