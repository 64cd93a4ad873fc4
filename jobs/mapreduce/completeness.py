"""Whether what gateways stamped has arrived.

Stamps leave their hour for a shard of (host, boot), whose holes are found there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.mapreduce.groups import Groups
from jobs.mapreduce.packing import encoded, longs, narrow, pack, unpack
from jobs.mapreduce.rows import Bools, Longs, Rows, numbered
from jobs.mapreduce.schemas import shaped

SHARDS = 64


def stamps(rows: Rows) -> Iterator[tuple[int, bytes]]:
    """Shards and their stamps: host, boot, seq, hour and coordinates.

    What other boots say of earlier ones goes the same way, with the boot it is about and offset -1.
    """
    stamped = np.flatnonzero(rows["seq"] >= 0)
    said = np.flatnonzero((rows["prev_seq"] >= 0) & (rows["host"] >= 0))
    said = said[_same_word(rows, "prev_boot", "boot")[rows["prev_boot"][said]] != rows["boot"][said]]
    by_boot = Groups(rows["host"][said], rows["prev_boot"][said])
    about = said[by_boot.first]
    if not len(stamped):
        return
    host = _texts(rows, "host", np.concatenate((stamped, about)))
    boot = pa.concat_arrays([_texts(rows, "boot", stamped), _texts(rows, "prev_boot", about)])
    file = rows["file"][stamped]
    empty = np.full(len(about), -1, dtype=np.int64)
    numbers = {
        "seq": np.concatenate((rows["seq"][stamped], by_boot.greatest(rows["prev_seq"][said]))),
        "partition": np.concatenate((np.array([item.partition for item in rows.files])[file], empty)),
        "offset": np.concatenate((rows["offset"][stamped], empty)),
    }
    topics = pa.array([item.topic for item in rows.files]).take(pa.array(np.concatenate((file, empty * 0))))
    table = pa.table({"host": host, "boot": boot, "topic": topics} | {name: pa.array(c) for name, c in numbers.items()})
    for shard, part in _by_shard(table):
        columns = {name: encoded(part[name], 1) for name in ("host", "boot", "topic")}
        columns |= {name: narrow(part[name]) for name in numbers}
        yield shard, pack(pa.table(columns), {"hour": str(rows.hour)})


def completeness_hourly(pieces: Iterable[bytes], emit: frozenset[int]) -> pa.Table:
    """One row per hour, host and boot of the hours to emit, from all stamps of a shard of (host, boot)."""
    parts = [unpack(piece) for piece in pieces]
    tables = [table for table, _ in parts]
    words = {name: numbered([table[name] for table in tables]) for name in ("host", "boot", "topic")}
    numbers = {
        name: np.concatenate([longs(table[name]) for table in tables]) for name in ("seq", "partition", "offset")
    }
    hour = np.concatenate([np.full(table.num_rows, int(note["hour"])) for table, note in parts])
    boots = Groups(words["host"][0], words["boot"][0])
    seen = numbers["offset"] >= 0
    claimed = np.zeros(boots.size, dtype=np.int64)
    np.maximum.at(claimed, boots.of[~seen], numbers["seq"][~seen])
    topic = _ranks(words["topic"])
    order = _in_order(
        boots.of[seen], numbers["seq"][seen], topic[seen], numbers["partition"][seen], numbers["offset"][seen]
    )
    boot, seq, hour = boots.of[seen][order], numbers["seq"][seen][order], hour[seen][order]
    own, missing = _missing(boot, seq, claimed)
    groups = Groups(boot, hour)
    received = groups.sums(own.astype(np.int64), str)
    lacking = groups.sums(missing, str)
    found = np.isin(hour[groups.first], list(emit))
    boot_of = boots.first[boot[groups.first]]
    columns = {
        "hour": pa.array(hour[groups.first]),
        **{name: words[name][1].take(pa.array(words[name][0][boot_of])) for name in ("host", "boot")},
        "first_seq": pa.array(groups.least(seq)),
        "last_seq": pa.array(groups.greatest(seq)),
        "expected": pa.array(received + lacking),
        "received": pa.array(received),
        "missing": pa.array(lacking),
        "duplicates": pa.array(groups.counts() - received),
    }
    return shaped("completeness_hourly", columns).filter(pa.array(found))


def _missing(boot: Longs, seq: Longs, claimed: Longs) -> tuple[Bools, Longs]:
    """Which of the sorted stamps are the first with their seq, and what is missing beside each of those.

    That is the hole after it, for the first of a boot what lacks before, for the last what lacks up to the claim. The
    three of one boot together are at most its greatest seq or claim, so they fit.
    """
    own = np.ones(len(seq), dtype=np.bool_)
    own[1:] = (boot[1:] != boot[:-1]) | (seq[1:] != seq[:-1])
    places = np.flatnonzero(own)
    boot, seq = boot[places], seq[places]
    begins = np.ones(len(places), dtype=np.bool_)
    begins[1:] = boot[1:] != boot[:-1]
    ends = np.roll(begins, -1)
    beside = np.where(ends, np.maximum(claimed[boot] - seq, 0), np.roll(seq, -1) - seq - 1)
    missing = np.zeros(len(own), dtype=np.int64)
    missing[places] = beside + np.where(begins, seq - 1, 0)
    return own, missing


def _in_order(boot: Longs, seq: Longs, topic: Longs, partition: Longs, offset: Longs) -> Longs:
    """By boot and seq; where a stamp is seen twice, by topic, partition and offset."""
    order = np.lexsort((seq, boot))
    if ((np.diff(boot[order]) == 0) & (np.diff(seq[order]) == 0)).any():
        order = np.lexsort((offset, partition, topic, seq, boot))
    return order


def _ranks(column: tuple[Longs, pa.Array]) -> Longs:
    """Places of words in alphabetical order."""
    names = column[1].to_pylist()
    rank = np.array([sorted(names).index(name) for name in names], dtype=np.int64)
    return rank[column[0]]


def _same_word(rows: Rows, name: str, other: str) -> Longs:
    """For each word of one column its place among those of another, -1 for none."""
    return longs(pc.index_in(rows.words[name], rows.words[other]))


def _texts(rows: Rows, name: str, places: Longs) -> pa.Array:
    return rows.words[name].take(pa.array(rows[name][places]))


def _by_shard(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    host, hosts = numbered([table["host"]])
    boot, boots = numbered([table["boot"]])
    pairs = Groups(host, boot)
    names = [f"{hosts[int(host[row])].as_py()}|{boots[int(boot[row])].as_py()}" for row in pairs.first.tolist()]
    shard = np.array([crc32(name.encode()) % SHARDS for name in names], dtype=np.int64)[pairs.of]
    for number in np.unique(shard).tolist():
        yield number, table.filter(pa.array(shard == number))
