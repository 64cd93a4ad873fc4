"""The sample as a stream of lines.

>>> from sample.stream import generate, labelled       # with the folder ``data`` on the path
>>> len(list(generate(1000)))                          # lines without their line ends, always exactly as many
1000
>>> {outcome for _, outcome in labelled(1000, dirt=0)}  # each line with what it is worth
{'accepted'}
"""

from __future__ import annotations

from collections.abc import Iterator

from sample.dirt import Amounts, Labelled, Soiler
from sample.stamps import stamped
from sample.traffic import rows

LINES, SEED, DAYS, DIRT = 40_000, 7, 2, 0.01


def generate(lines: int = LINES, seed: int = SEED, days: int = DAYS, dirt: float = DIRT) -> Iterator[bytes]:
    """Lines (without line end) of ``days`` days from 2026-03-02; the same arguments give the same bytes."""
    return (line for line, _ in labelled(lines, seed, days, dirt))


def labelled(
    lines: int = LINES, seed: int = SEED, days: int = DAYS, dirt: float = DIRT, *, oversized: bool = False
) -> Iterator[Labelled]:
    """Lines with ``accepted``, ``duplicate`` or the reason of their quarantine.

    ``dirt`` is the share of lines that are not accepted; with 0 there are no odd spellings either. ``oversized`` adds
    lines of more than 65,536 bytes.
    """
    amounts = Amounts.of(lines, dirt)
    clean = stamped(rows(amounts.rows, seed, days), days)
    return Soiler(amounts, seed, oversized=oversized).lines(clean)
