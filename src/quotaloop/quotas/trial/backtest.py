"""A policy tried on history: what a target would have let pass under it, beside what really passed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quotaloop.errors import CheckRefused
from quotaloop.quotas.policy import EVERYTHING, Kind, Limit, Policy, Rate, Scope
from quotaloop.quotas.target import Algorithm, Target
from quotaloop.quotas.trial.history import History
from quotaloop.quotas.trial.replay import NOT_SENT, PASSED, Attempts, Counter, Longs, replay

TRIED = pa.schema(
    [
        ("hour_ms", pa.int64()),
        ("tenant", pa.string()),
        ("model", pa.string()),
        ("attempts", pa.int64()),
        ("admitted", pa.int64()),
        ("denied", pa.int64()),
        ("denied_tokens", pa.int64()),
        ("not_sent", pa.int64()),
        ("was_admitted", pa.int64()),
        ("was_denied", pa.int64()),
        ("was_denied_tokens", pa.int64()),
    ]
)
GRAIN = ("hour_ms", "tenant", "model")


def tried(history: History, policy: Policy, target: Target) -> Longs:
    """What would have become of each attempt of a tenant: see ``replay``.

    Raises ``CheckRefused`` for a limit that cannot be counted exactly.
    """
    try:
        held = list(_held(history, policy, target))
    except ValueError as error:
        raise CheckRefused(f"policy {policy.epoch}, {history.tenant}: {error}") from error
    costs = np.array([cost for _, cost in held], dtype=np.int64).reshape(len(held), len(history.arrived_ms))
    attempts = Attempts(history.arrived_ms, history.ended_ms, costs, history.chain, history.was_denied)
    return replay(attempts, [counter for counter, _ in held], target.manner)


def _held(history: History, policy: Policy, target: Target) -> Iterator[tuple[Counter, Longs]]:
    """The counters that a tenant is under, and what each attempt costs there; -1 where it is under another."""
    for kind, algorithm in target.algorithms.items():
        cost = history.cost(kind)
        is_free = np.ones(len(cost), np.bool_)
        for limit in policy.limits:
            if limit.tenant == history.tenant and limit.kind == kind:
                is_covered = _covers(limit.scope, history)
                is_free &= ~is_covered
                yield _counter(limit, kind, algorithm, target), np.where(is_covered, cost, -1)
        if is_free.any():
            yield _counter(policy.safe_capacity[kind], kind, algorithm, target), np.where(is_free, cost, -1)


def _covers(scope: Scope, history: History) -> npt.NDArray[np.bool_]:
    covered = np.ones(len(history.tokens), np.bool_)
    if scope.model != EVERYTHING.model:
        covered &= history.model == scope.model
    if scope.api_version != EVERYTHING.api_version:
        covered &= history.api_version == scope.api_version
    return covered


def _counter(limit: Limit | Rate, kind: Kind, algorithm: Algorithm, target: Target) -> Counter:
    return Counter(algorithm, limit.limit, limit.per_seconds * 1_000, limit.burst, kind in target.after)


def summed(history: History, answers: Longs) -> pa.Table:
    """A row of ``TRIED`` for each hour and model of one tenant.

    ``denied`` counts attempts and ``denied_tokens`` their tokens, as the target charges them; ``not_sent`` are retries
    of what passes now. The columns ``was_...`` say what happened.
    """
    is_denied, is_unsent = answers >= 0, answers == NOT_SENT
    columns = {
        "hour_ms": history.hour_ms,
        "model": pa.array(history.model, pa.string()),
        "attempts": np.ones(len(answers), np.int64),
        "admitted": (answers == PASSED).astype(np.int64),
        "denied": is_denied.astype(np.int64),
        "denied_tokens": np.where(is_denied, history.tokens, 0),
        "not_sent": is_unsent.astype(np.int64),
        "was_admitted": (~history.was_denied).astype(np.int64),
        "was_denied": history.was_denied.astype(np.int64),
        "was_denied_tokens": np.where(history.was_denied, history.tokens, 0),
    }
    amounts = [name for name in TRIED.names if name not in GRAIN]
    found = pa.table(columns).group_by(["hour_ms", "model"]).aggregate([(name, "sum") for name in amounts])
    found = found.rename_columns([name.removesuffix("_sum") for name in found.column_names])
    found = found.append_column("tenant", pa.array([history.tenant] * len(found), pa.string()))
    return found.select(TRIED.names).cast(TRIED).sort_by([("hour_ms", "ascending"), ("model", "ascending")])
