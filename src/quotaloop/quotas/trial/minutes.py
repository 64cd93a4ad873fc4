"""What a trial would have left unmet, minute by minute: what the gate judges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from quotaloop.quotas.policy import RATES, Kind
from quotaloop.quotas.trial.history import History
from quotaloop.quotas.trial.replay import PASSED, Longs

UNMET = pa.schema(
    [
        ("minute", pa.int64()),
        ("tenant", pa.string()),
        ("kind", pa.string()),
        ("demand", pa.int64()),
        ("unmet", pa.int64()),
    ]
)


def unmet(history: History, answers: Longs) -> pa.Table:
    """A row of ``UNMET`` for each kind of rate and minute (since the epoch) in which a chain of the tenant begins.

    ``answers`` are those of a replay. As in ``demand_minutely``, a chain asks for the amount of its first attempt that
    passes, or of its first where none does, and is unmet then.
    """
    count = len(answers)
    places = np.arange(count)
    root = np.where(history.chain >= 0, history.chain, places)
    first_passed = np.full(count, count)
    passed = places[answers == PASSED]
    np.minimum.at(first_passed, root[passed], passed)
    roots = np.unique(root)
    is_unmet = first_passed[roots] == count
    asked = np.where(is_unmet, roots, first_passed[roots])
    minute = history.arrived_ms[roots] // 60_000
    return pa.concat_tables(
        [_summed(history.tenant, kind, minute, history.cost(kind)[asked], is_unmet) for kind in RATES]
    )


def _summed(tenant: str, kind: Kind, minute: Longs, amounts: Longs, is_unmet: npt.NDArray[np.bool_]) -> pa.Table:
    columns = {"minute": minute, "demand": amounts, "unmet": np.where(is_unmet, amounts, 0)}
    sums = pa.table(columns).group_by("minute").aggregate([("demand", "sum"), ("unmet", "sum")])
    sums = sums.filter(pc.greater(sums["demand_sum"], 0))
    names = [pa.array([name] * len(sums), pa.string()) for name in (tenant, kind)]
    return pa.table([sums["minute"], *names, sums["demand_sum"], sums["unmet_sum"]], schema=UNMET)
