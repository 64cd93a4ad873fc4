"""How much more than the capacity limits may come to, since tenants are not busy at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from quotaloop.quotas.derivation.demand import minutely
from quotaloop.quotas.policy import RATES, Kind

Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Busy:
    """Of one kind, a row a minute and tenant with demand: ``minute`` from 0, ``tenant`` as a place in ``tenants``.

    ``allowed``: so many minutes may ask for more than the capacity.
    """

    tenants: tuple[str, ...]
    tenant: Longs
    minute: Longs
    demand: Longs
    allowed: int

    def minutes_over(self, capacity: int, limits: Mapping[str, int]) -> int:
        """Minutes in which limits would have let more pass than the capacity."""
        most = np.array([limits.get(name, 0) for name in self.tenants], np.int64)
        passed = np.zeros(int(self.minute.max(initial=-1)) + 1, np.int64)
        np.add.at(passed, self.minute, np.minimum(self.demand, most[self.tenant]))
        return int(np.count_nonzero(passed > capacity))


def busy_minutes(connection: duckdb.DuckDBPyConnection, hours: Sequence[int], over_share: Fraction) -> dict[Kind, Busy]:
    """The demand of all minutes of these hours (epoch ms), a share of which may exceed the capacity."""
    allowed = int(60 * len(set(hours)) * over_share)
    rows = minutely(connection, hours)
    return {kind: _of_kind(rows.filter(pc.equal(rows["kind"], kind)), allowed) for kind in RATES}


def overbooked(busy: Busy, capacity: int, most: int, limits_at: Callable[[int], Mapping[str, int]]) -> int:
    """The most, from ``capacity`` to ``most``, that limits may add up to so that no more minutes than allowed are over.

    That is overbooking by measured demand (Urgaonkar, Shenoy and Roscoe, "Resource Overbooking and Application
    Profiling in Shared Hosting Platforms", OSDI 2002). ``limits_at`` gives limits by tenant that add up to so
    much. It is found to a ten thousandth of the capacity.
    """
    low, high = capacity, max(most, capacity)
    while high - low > capacity // 10_000:
        middle = (low + high + 1) // 2
        if busy.minutes_over(capacity, limits_at(middle)) <= busy.allowed:
            low = middle
        else:
            high = middle - 1
    return low


def _of_kind(rows: pa.Table, allowed: int) -> Busy:
    names, tenant = np.unique(rows["tenant"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    _, minute = np.unique(rows["minute"].to_numpy(), return_inverse=True)
    return Busy(tuple(map(str, names)), tenant, minute, rows["demand"].to_numpy(), allowed)
