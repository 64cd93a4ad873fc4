"""Which calls are made when: a function of the seed, the tenants and the length, made before anything is sent."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from examples.gateway.clients.prompt import V2, Prompt, Version
from quotaloop.errors import UsageError

PROTOCOLS = ("http", "http2", "multipart", "sse", "websocket", "grpc", "webrtc")
STREAMED = ("sse", "websocket", "grpc", "webrtc")
_BY_HEADER = ("http", "http2", "multipart", "sse")  # a header can name their version, the path that of all but gRPC
_PICTURES = 1_797
_WORDS = ("what", "the", "rate", "of", "a", "river", "says", "about", "time", "when", "nobody", "counts", "it")


@dataclass(frozen=True, slots=True)
class Tenant:
    """What one tenant wants: ``rate`` calls a second on average, in groups of ``burst`` at the same moment.

    Groups are a Poisson process, so the variance of calls in any second is ``burst`` times their mean. ``words`` is
    the mean size of a prompt, ``leaves`` the share of streams that the client leaves in the middle.
    """

    name: str
    rate: float
    burst: int = 1
    protocols: tuple[str, ...] = PROTOCOLS
    words: int = 20
    max_tokens: int = 64
    leaves: float = 0.0

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.protocols) - set(PROTOCOLS)):
            raise UsageError(f"there is no protocol {unknown[0]}; there are {', '.join(PROTOCOLS)}")
        if not self.protocols:
            raise UsageError(f"{self.name} has no protocol")
        if not (0 < self.rate < 100_000 and self.burst >= 1 and self.words >= 1 and 1 <= self.max_tokens <= 1_024):
            raise UsageError(f"{self.name}: rate, burst and words are above 0, max_tokens is 1 to 1,024")
        if not 0 <= self.leaves <= 1:
            raise UsageError(f"{self.name}: leaves is a share, 0 to 1, not {self.leaves}")


@dataclass(frozen=True, slots=True)
class Call:
    """One call, ``at_s`` seconds after the start; ``leave_after`` so many tokens the client is gone."""

    at_s: float
    tenant: str
    protocol: str
    words: int
    max_tokens: int
    seed: int
    version: Version = V2
    leave_after: int | None = None

    @property
    def prompt(self) -> Prompt:
        """Its text is made of the seed."""
        draw = random.Random(self.seed)
        return Prompt(" ".join(draw.choices(_WORDS, k=self.words)), self.max_tokens, self.seed)

    @property
    def picture(self) -> int:
        """Number of the picture that is uploaded."""
        return self.seed % _PICTURES


def plan(seed: int, tenants: Sequence[Tenant], seconds: float) -> list[Call]:
    """The calls of all tenants in order of time; a tenant's do not depend on which others there are."""
    if len({tenant.name for tenant in tenants}) < len(tenants):
        raise UsageError("a tenant is named twice")
    found = [call for tenant in tenants for call in _calls(random.Random(f"{seed}-{tenant.name}"), tenant, seconds)]
    return sorted(found, key=attrgetter("at_s", "tenant"))


def _calls(draw: random.Random, tenant: Tenant, seconds: float) -> Iterator[Call]:
    at_s = draw.expovariate(tenant.rate / tenant.burst)
    while at_s < seconds:
        for _ in range(tenant.burst):
            yield _call(draw, tenant, at_s)
        at_s += draw.expovariate(tenant.rate / tenant.burst)


def _call(draw: random.Random, tenant: Tenant, at_s: float) -> Call:
    """Prompts are of 1 to twice the mean number of words, versions and protocols equally frequent."""
    protocol = draw.choice(tenant.protocols)
    max_tokens = draw.randint(1, tenant.max_tokens)
    version = Version(draw.choice(("v1", "v2")), in_header=draw.random() < 0.5 and protocol in _BY_HEADER)
    is_left = draw.random() < tenant.leaves and protocol in STREAMED and max_tokens > 1
    return Call(
        at_s=at_s,
        tenant=tenant.name,
        protocol=protocol,
        words=draw.randint(1, 2 * tenant.words - 1),
        max_tokens=max_tokens,
        seed=draw.getrandbits(31),
        version=version,
        leave_after=draw.randint(1, max_tokens - 1) if is_left else None,
    )
