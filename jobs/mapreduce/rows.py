"""The events of one hour and shard in a reducer: numbers by column, words as numbers into dictionaries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.mapreduce.packing import longs, unpack
from quotaloop.events.columns import CONTENT

Longs = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

IDS = ("event_id", "retry_of")
WORDS = tuple(name for name, kind in CONTENT if kind == pa.string() and name not in IDS)
# The sum of the classes is left at home: the parser has seen that it is their sum.
NUMBERS = tuple(name for name, kind in CONTENT if kind == pa.int64() and name != "total_tokens")
DERIVED = ("itl_us", "duration_bucket", "ttft_bucket", "itl_bucket")
SHIPPED = (*IDS, *WORDS, "ts", *NUMBERS, *DERIVED, "offset")


@dataclass(frozen=True, slots=True)
class File:
    """A raw file, by its coordinates."""

    topic: str
    partition: int
    start: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Events in the order of (topic, partition, offset).

    ``numbers``: 64-bit columns, -1 for null; a word is its place in ``words``; ``retry_of`` shares the words of
    ``event_id``; ``ts`` is in ms from ``hour``; ``file`` is the place in ``files``.
    """

    hour: int
    numbers: dict[str, Longs]
    words: dict[str, pa.Array]
    files: tuple[File, ...]

    def __len__(self) -> int:
        return len(self.numbers["ts"])

    def __getitem__(self, name: str) -> Longs:
        return self.numbers[name]

    def where(self, mask: Bools) -> Rows:
        """The rows of the mask."""
        return (
            self if mask.all() else replace(self, numbers={name: column[mask] for name, column in self.numbers.items()})
        )


def gather(hour: int, pieces: Iterable[bytes]) -> Rows:
    """All pieces of one hour and shard, in whatever order they come."""
    parts = []
    for piece in pieces:
        table, note = unpack(piece)
        file = File(note["topic"], int(note["partition"]), int(note["start"]))
        parts.append(((file.topic, file.partition, file.start, table["offset"][0].as_py()), file, table))
    parts.sort(key=lambda part: part[0])
    files = tuple(dict.fromkeys(file for _, file, _ in parts))
    tables = [table for _, _, table in parts]
    numbers = {name: np.concatenate([longs(table[name]) for table in tables]) for name in _counted(tables[0])}
    numbers["file"] = np.concatenate([np.full(table.num_rows, files.index(file)) for _, file, table in parts])
    words = {}
    for name in WORDS:
        numbers[name], words[name] = numbered([table[name] for table in tables])
    ids = [table["event_id"].cast(pa.string()) for table in tables]
    retries = pa.chunked_array([chunk for table in tables for chunk in table["retry_of"].cast(pa.string()).chunks])
    known = pc.is_valid(retries).to_numpy()
    both, words["event_id"] = numbered([*ids, retries.filter(pa.array(known))])
    numbers["event_id"] = both[: len(known)]
    numbers["retry_of"] = np.full(len(known), -1)
    numbers["retry_of"][known] = both[len(known) :]
    return Rows(hour, numbers, words, files)


def numbered(columns: list[pa.ChunkedArray]) -> tuple[Longs, pa.Array]:
    """Strings of several columns, one after the other, as places in one dictionary (in order of appearance)."""
    if all(pa.types.is_dictionary(column.type) for column in columns):
        chunks = pa.chunked_array([chunk for column in columns for chunk in column.chunks]).unify_dictionaries()
        words = chunks.combine_chunks()
    else:
        plain = [chunk for column in columns for chunk in column.cast(pa.string()).chunks]
        words = pa.chunked_array(plain, pa.string()).combine_chunks().dictionary_encode()
    if isinstance(words, pa.ChunkedArray):
        words = words.chunk(0)
    return longs(words.indices), words.dictionary


def _counted(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if name not in (*IDS, *WORDS)]
