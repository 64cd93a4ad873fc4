"""``rate_limit_usage`` (but for concurrency) and ``demand_minutely`` from the accepted events of one hour and shard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from jobs.mapreduce.attempts import KINDS, amounts, chains, denied
from jobs.mapreduce.groups import Groups
from jobs.mapreduce.rows import Longs, Rows
from jobs.mapreduce.schemas import shaped

MEASURES = ("demand", "admitted", "denied", "unmet")
_SECOND, _MINUTE = 1_000, 60_000


@dataclass(frozen=True, slots=True)
class Minutes:
    """Amounts by minute, tenant and model: the keys, and by kind and measure the sums."""

    minute: Longs
    tenant: Longs
    model: Longs
    sums: dict[str, dict[str, Longs]]


def minutes(rows: Rows) -> Minutes:
    """Attempts at their own minute and model, chains at their first minute and the model of the attempt counted."""
    found = chains(rows)
    minute = np.concatenate((rows["ts"], found.ts)) // _MINUTE
    tenant, model = (np.concatenate((rows[name], rows[name][found.counted])) for name in ("tenant", "model"))
    groups = Groups(minute, tenant, model)
    refused = denied(rows)
    no_attempts, no_chains = np.zeros(len(rows), dtype=np.int64), np.zeros(len(found.ts), dtype=np.int64)
    sums: dict[str, dict[str, Longs]] = {}
    for kind, amount in amounts(rows).items():
        demand = amount[found.counted]
        parts = (
            (no_attempts, demand),
            (np.where(refused, 0, amount), no_chains),
            (np.where(refused, amount, 0), no_chains),
            (no_attempts, np.where(found.unmet, demand, 0)),
        )
        name = _named(f"demand_minutely {kind}", rows, tenant[groups.first])
        sums[kind] = {
            measure: groups.sums(np.concatenate(part), name) for measure, part in zip(MEASURES, parts, strict=True)
        }
    return Minutes(minute[groups.first], tenant[groups.first], model[groups.first], sums)


def demand_minutely(rows: Rows, by_minute: Minutes) -> pa.Table:
    """One row per minute, tenant, model and kind with any amount."""
    parts = []
    for kind, sums in by_minute.sums.items():
        there = np.flatnonzero(np.any(list(sums.values()), axis=0))
        columns = {
            "minute": pa.array(rows.hour + by_minute.minute[there] * _MINUTE),
            "tenant": rows.words["tenant"].take(pa.array(by_minute.tenant[there])),
            "model": rows.words["model"].take(pa.array(by_minute.model[there])),
            "kind": pa.repeat(kind, len(there)),
        } | {measure: pa.array(sums[measure][there]) for measure in MEASURES}
        parts.append(shaped("demand_minutely", columns))
    return pa.concat_tables(parts)


def rate_limit_usage(rows: Rows, by_minute: Minutes) -> pa.Table:
    """One row per tenant and kind with any amount; concurrency is counted elsewhere."""
    tenants = Groups(by_minute.tenant)
    tenant = by_minute.tenant[tenants.first]
    minute = Groups(by_minute.minute, by_minute.tenant)
    second = Groups(rows["ts"] // _SECOND, rows["tenant"])
    refused, attempt_amounts = denied(rows), amounts(rows)
    parts = []
    for kind in KINDS:
        name = _named(f"rate_limit_usage {kind}", rows, tenant)
        sums = {measure: tenants.sums(values, name) for measure, values in by_minute.sums[kind].items()}
        there = np.flatnonzero(np.any(list(sums.values()), axis=0))
        admitted = np.where(refused, 0, attempt_amounts[kind])
        by_kind = by_minute.sums[kind]
        peaks = {
            "peak_second": _peaks(second, admitted, rows["tenant"], len(rows.words["tenant"])),
            "peak_minute": _peaks(minute, by_kind["admitted"], by_minute.tenant, len(rows.words["tenant"])),
            "demand_peak_minute": _peaks(minute, by_kind["demand"], by_minute.tenant, len(rows.words["tenant"])),
        }
        columns = {
            "hour": pa.repeat(pa.scalar(rows.hour, pa.int64()), len(there)),
            "tenant": rows.words["tenant"].take(pa.array(tenant[there])),
            "kind": pa.repeat(kind, len(there)),
        }
        columns |= {measure: pa.array(sums[measure][there]) for measure in MEASURES}
        columns |= {peak: pa.array(values[tenant[there]]) for peak, values in peaks.items()}
        parts.append(shaped("rate_limit_usage", columns))
    return pa.concat_tables(parts)


def _peaks(groups: Groups, values: Longs, tenants: Longs, size: int) -> Longs:
    """For each tenant the greatest sum of a group; a group is of one tenant, and its sum is part of one that fits."""
    peaks = np.zeros(size, dtype=np.int64)
    np.maximum.at(peaks, tenants[groups.first], groups.sums(values, str))
    return peaks


def _named(what: str, rows: Rows, tenants: Longs) -> Callable[[int], str]:
    return lambda group: f"{what} of hour={rows.hour}, tenant={rows.words['tenant'][int(tenants[group])].as_py()}"
