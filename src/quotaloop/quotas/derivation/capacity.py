"""What all tenants together get of one kind: never more than its capacity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quotaloop.errors import CheckRefused
from quotaloop.quotas.derivation.damping import Damping
from quotaloop.quotas.derivation.overbooking import Busy, overbooked
from quotaloop.quotas.derivation.rules import Rules
from quotaloop.quotas.derivation.wants import Want
from quotaloop.quotas.fair_share import max_min_from
from quotaloop.quotas.policy import Kind


@dataclass(frozen=True, slots=True)
class Share:
    """A tenant's limit, the least that scarcity could have left of it, and what bound it last.

    ``is_scarce``: capacity left less than is wanted, whatever bound it then.
    """

    limit: int
    least: int
    bound_by: str
    is_scarce: bool


def shares(rules: Rules, kind: Kind, wants: Mapping[str, Want], busy: Busy | None = None) -> dict[str, Share]:
    """By tenant: what it wants, or less: the greater of its weighted max-min share and its least.

    With ``busy`` minutes, limits add up to more than the capacity, as far as these allow.

    The least is the floor, or what a step down leaves where that is more; if the capacity does not carry these, the
    floor; else one unit. Only so can a limit fall by more than a step. Raises ``CheckRefused`` below one unit each.
    """
    least = _least(rules, kind, wants)
    capacity = rules.bounds[kind].capacity
    amounts = {name: want.amount for name, want in wants.items()}
    if busy is not None:
        most = sum(amounts.values())
        capacity = overbooked(busy, capacity, most, lambda sum_: max_min_from(least, amounts, rules.weights, sum_))
    shared = max_min_from(least, amounts, rules.weights, capacity)
    settled = _settled(shared, wants, capacity, rules.damping)
    return {
        name: Share(
            settled[name], least[name], _bound_by(want, shared[name], settled[name]), shared[name] < want.amount
        )
        for name, want in wants.items()
    }


def _least(rules: Rules, kind: Kind, wants: Mapping[str, Want]) -> dict[str, int]:
    bounds = rules.bounds[kind]
    floor = max(1, bounds.floor)
    stepped = {name: rules.damping.least(want.old) if want.old is not None else 0 for name, want in wants.items()}
    for leaves in (
        {name: max(floor, stepped[name]) for name in wants},
        dict.fromkeys(wants, floor),
        dict.fromkeys(wants, 1),
    ):
        least = {name: min(leaves[name], want.amount) for name, want in wants.items()}
        if sum(least.values()) <= bounds.capacity:
            return least
    said = f"capacity_{kind}={bounds.capacity} is below one unit for each of {len(wants)} tenants"
    raise CheckRefused(f"{said}: raise it")


def _settled(shared: Mapping[str, int], wants: Mapping[str, Want], capacity: int, damping: Damping) -> dict[str, int]:
    """Shares with the old limit instead of each that scarcity moved within the dead band around it.

    Those that fell to their share stay there, all of them, if together they do not fit.
    """
    kept = {
        name: int(want.old)
        for name, want in wants.items()
        if want.old is not None
        and shared[name] < want.amount
        and 1 <= want.old <= want.amount
        and damping.keeps(shared[name], want.old)
    }
    settled = {**shared, **kept}
    if sum(settled.values()) <= capacity:
        return settled
    return {name: min(settled[name], share) for name, share in shared.items()}


def _bound_by(want: Want, share: int, settled: int) -> str:
    if share == want.amount:
        return want.bound_by
    return "dead_band" if settled == want.old and settled != share else "capacity"
