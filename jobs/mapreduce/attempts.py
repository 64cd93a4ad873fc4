"""What each attempt amounts to, and the chains of attempts that are one demand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.mapreduce.groups import MOST
from jobs.mapreduce.rows import Bools, Longs, Rows
from quotaloop.events.event import TOKEN_CLASSES

KINDS = ("requests", "tokens", "compute")


@dataclass(frozen=True, slots=True)
class Chains:
    """One entry a chain; ``ts`` is of its first attempt, in ms of the hour.

    ``counted`` is the row whose amount is the demand; ``unmet``: no attempt was admitted.
    """

    ts: Longs
    counted: Longs
    unmet: Bools


def denied(rows: Rows) -> Bools:
    """Which attempts were denied."""
    return is_word(rows, "outcome", "denied")


def is_word(rows: Rows, column: str, word: str) -> Bools:
    """Where a column of words has this one."""
    place = rows.words[column].index(word).as_py()
    return rows[column] == place if place >= 0 else np.zeros(len(rows), dtype=np.bool_)


def tokens(rows: Rows) -> Longs:
    """All tokens of each attempt."""
    total = np.zeros(len(rows), dtype=np.int64)
    for name in TOKEN_CLASSES:
        total += rows[name]
    return total


def wanted(rows: Rows) -> Longs:
    """What denied attempts would have used; 0 for the others."""
    return np.where(denied(rows), np.maximum(rows["wanted_tokens"], 0), 0)


def amounts(rows: Rows) -> dict[str, Longs]:
    """The amount of each attempt, by kind."""
    return {
        "requests": np.ones(len(rows), dtype=np.int64),
        "tokens": np.where(denied(rows), wanted(rows), tokens(rows)),
        "compute": rows["gpu_us"],
    }


def chains(rows: Rows) -> Chains:
    """Chains of the accepted attempts of an hour; most are a single attempt, and only the others are sorted."""
    ids, retry_of = rows["event_id"], rows["retry_of"]
    is_retry = retry_of >= 0
    repeated = np.zeros(len(rows.words["event_id"]), dtype=np.bool_)
    repeated[retry_of[is_retry]] = True
    linked = is_retry | repeated[ids]
    alone = np.flatnonzero(~linked)
    order = _in_chains(rows, np.flatnonzero(linked), np.where(is_retry, retry_of, ids))
    links = [rows["tenant"][order], np.where(is_retry, retry_of, ids)[order]]
    first = np.flatnonzero(_changes(*links))
    refused = denied(rows)
    admitted = np.where(refused[order], MOST, np.arange(len(order)))
    admitted = np.minimum.reduceat(admitted, first) if len(first) else admitted
    counted = order[np.where(admitted == MOST, first, admitted)]
    return Chains(
        np.concatenate((rows["ts"][alone], rows["ts"][order[first]])),
        np.concatenate((alone, counted)),
        np.concatenate((refused[alone], admitted == MOST)),
    )


def _in_chains(rows: Rows, linked: Longs, root: Longs) -> Longs:
    """Rows of chains by tenant, root, ``ts`` and id."""
    table = pa.table(
        {
            "tenant": rows["tenant"][linked],
            "root": root[linked],
            "ts": rows["ts"][linked],
            "event_id": rows.words["event_id"].take(pa.array(rows["event_id"][linked])),
        }
    )
    order = pc.sort_indices(table, [(name, "ascending") for name in table.column_names])
    sorted_rows: Longs = linked[order.to_numpy()]
    return sorted_rows


def _changes(*keys: Longs) -> Bools:
    """Where a sorted row differs from the one before."""
    changed = np.ones(len(keys[0]), dtype=np.bool_)
    if len(changed):
        changed[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return changed
