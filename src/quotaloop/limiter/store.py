"""Where counts are kept: what every store of a limiter does, and does alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from quotaloop.errors import ServiceUnreachable
from quotaloop.limiter.concurrency import Concurrency
from quotaloop.limiter.rule import EXACT, Decision, Rule, check_cost

HOLD_MS = 10 * 60_000
SETTLED_MS = 10_000  # in which what is sent again is known for it


class StoreUnavailable(ServiceUnreachable):
    """The store did not answer; whether it has counted is not known."""


class Ask(Struct, frozen=True, gc=False):
    """``cost`` under one limit of a subject; ``key`` names what is counted, whatever the numbers of the limit."""

    key: str
    rule: Rule[Any] | Concurrency
    cost: int


class CounterStore(Protocol):
    """Counts by subject (a tenant, or several that share) and key, at ``now_ms`` (ms since the epoch).

    A store that many processes share may go by a clock of its own. All raise ``ValueError`` for a cost that cannot be
    one, and ``StoreUnavailable``.
    """

    @property
    def hold_ms(self) -> int:
        """How long a reservation and its slot are held (ms)."""
        ...

    def spend(self, subject: str, ask: Ask, now_ms: int) -> Decision:
        """Spend under one limit, which is not ``Concurrency``, for good."""
        ...

    def reserve(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> list[Decision]:
        """Spend all or nothing; a decision for each. What was reserved under the id of a request is allowed again.

        An id is given by who asks, once a request, never by their client.
        """
        ...

    def settle(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> bool:
        """Make the costs those of ``asks``, once, and free the slot; False where nothing is reserved under the id.

        That it was settled is remembered for ``settled_ms``, where it would have been held as long. More is spent now,
        fits or not; less is given back to when it was reserved. Keys not reserved are passed over.
        """
        ...

    def extend(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> bool:
        """Hold a reservation and its slot for as long again; False where nothing is reserved under the id."""
        ...


def check_asks(asks: Sequence[Ask]) -> None:
    """Raises ``ValueError`` unless each cost can be one, and each key is asked for once."""
    for ask in asks:
        check_cost(ask.cost, ask.rule.most)
    if len({ask.key for ask in asks}) < len(asks):
        raise ValueError(f"a key is asked for twice: {', '.join(ask.key for ask in asks)}")


def check_actual(asks: Sequence[Ask]) -> None:
    """Raises ``ValueError`` unless each cost can be what a request came to; it may be above the limit."""
    for ask in asks:
        cost = ask.cost
        if type(cost) is not int or not 0 <= cost <= EXACT:  # looked at here: this is asked for every request
            check_cost(cost, EXACT)
