"""Weighted max-min fair share of a capacity, in whole units."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from quotaloop.errors import UsageError

Weight = int | float | Fraction


def weighted_max_min(wants: Mapping[str, int], weights: Mapping[str, Weight], capacity: int) -> dict[str, int]:
    """Divide ``capacity`` units: nobody gets above their want, nor less per weight than others while unsatisfied.

    Water filling (Bertsekas and Gallager, "Data Networks"; weighted as in Keshav, "An Engineering Approach to Computer
    Networking"), computed with fractions and then rounded by largest remainder, ties by name: each share is less than
    one unit from the exact one, and the sum is the lesser of capacity and wants. A name without a weight weighs 1.
    Raises ``ValueError`` for a negative want or capacity and for a weight that is not above 0.

    >>> weighted_max_min({"a": 20, "b": 26, "c": 40, "d": 50}, {}, 100)
    {'a': 20, 'b': 26, 'c': 27, 'd': 27}
    """
    if capacity < 0 or any(want < 0 for want in wants.values()):
        raise ValueError("wants and capacity are not negative")
    return _rounded(_exact_shares(wants, {name: _fraction(weights.get(name, 1)) for name in wants}, capacity))


def max_min_from(
    least: Mapping[str, int], wants: Mapping[str, int], weights: Mapping[str, Weight], capacity: int
) -> dict[str, int]:
    """The greater of ``least`` and the weighted max-min share, where ``capacity`` carries all of ``least``.

    As in Long, Ho and Rad, "Weighted fairness with MCR guarantee" (2000), and in Hadoop's fair scheduler: who would get
    less than its least has that, and the others share what then remains. Each want is at least its ``least``.

    >>> max_min_from({"a": 60, "b": 0, "c": 0}, {"a": 90, "b": 90, "c": 10}, {}, 100)
    {'a': 60, 'b': 30, 'c': 10}
    """
    held: dict[str, int] = {}
    while True:
        rest = {name: want for name, want in wants.items() if name not in held}
        shares = weighted_max_min(rest, weights, capacity - sum(held.values()))
        below = {name: least[name] for name, share in shares.items() if share < least[name]}
        if not below:
            return held | shares
        held |= below


def weights_of(text: str) -> dict[str, Fraction]:
    """Weights of the setting ``acme=3,globex=1.5``; raises ``UsageError``.

    >>> weights_of("acme=3, globex=1.5")
    {'acme': Fraction(3, 1), 'globex': Fraction(3, 2)}
    """
    weights: dict[str, Fraction] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})=([0-9]+(?:\.[0-9]+)?)", part)
        if match is None or match[1] in weights or Fraction(match[2]) == 0:
            raise UsageError(f"setting weights: {part!r} is not tenant=number, above 0 and once a tenant")
        weights[match[1]] = Fraction(match[2])
    return weights


def _fraction(weight: Weight) -> Fraction:
    if not 0 < weight < float("inf"):
        raise ValueError(f"a weight is a number above 0, not {weight}")
    return Fraction(weight)


def _exact_shares(wants: Mapping[str, int], weights: Mapping[str, Fraction], capacity: int) -> dict[str, Fraction]:
    """Satisfy the least want per weight first; from the first that cannot be, all get the same level per weight."""
    order = sorted(wants, key=lambda name: (wants[name] / weights[name], name))
    shares: dict[str, Fraction] = {}
    left, unserved_weight = capacity, sum(weights.values(), Fraction(0))
    for position, name in enumerate(order):
        level = left / unserved_weight
        if wants[name] > level * weights[name]:
            return shares | {unsatisfied: level * weights[unsatisfied] for unsatisfied in order[position:]}
        shares[name] = Fraction(wants[name])
        left -= wants[name]
        unserved_weight -= weights[name]
    return shares


def _rounded(shares: Mapping[str, Fraction]) -> dict[str, int]:
    """Whole units with the same sum (which is whole): the largest remainders are rounded up."""
    whole = {name: int(share) for name, share in sorted(shares.items())}
    units_left = int(sum(shares.values(), Fraction(0))) - sum(whole.values())
    by_remainder = sorted(whole, key=lambda name: (whole[name] - shares[name], name))
    for name in by_remainder[:units_left]:
        whole[name] += 1
    return whole
