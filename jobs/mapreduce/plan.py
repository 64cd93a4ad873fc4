"""What a recount is asked for: which hours to give rows for, and which to read for them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

ROWS_A_SHARD = 250_000  # aimed at for one (hour, shard), which a reducer holds in memory


@dataclass(frozen=True, slots=True)
class Plan:
    """Hours in epoch ms. Rows are made for ``emit``; ``read`` holds those and the hours that reach into them.

    ``shards``: into how many parts the tenants of an hour are divided; it changes memory, never a row.
    """

    emit: tuple[int, ...]
    read: tuple[int, ...]
    late_bound_ms: int
    shards: int = 1

    def __post_init__(self) -> None:
        if not set(self.emit) <= set(self.read):
            raise ValueError("every hour that rows are made for has to be read")

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last hour with rows."""
        return min(self.emit, default=0), max(self.emit, default=-1)

    def render(self) -> str:
        """The plan as JSON."""
        return json.dumps(asdict(self), sort_keys=True)


def plan(emit: Iterable[int], read: Iterable[int], *, late_bound_ms: int, busiest: int) -> Plan:
    """A plan whose shards suit an hour of ``busiest`` events."""
    shards = -(-busiest // ROWS_A_SHARD)
    return Plan(tuple(sorted(set(emit))), tuple(sorted(set(read))), late_bound_ms, max(1, min(shards, 256)))


def load_plan(path: str) -> Plan:
    """The plan in a file; ``shards`` may be absent."""
    document = json.loads(Path(path).read_text("utf-8"))
    return Plan(tuple(document["emit"]), tuple(document["read"]), document["late_bound_ms"], document.get("shards", 1))
