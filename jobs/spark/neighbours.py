"""Which hours a second count of completeness has to read, from the notes alone.

A row depends on who owns each stamp of the hour, on the stamp after each, on whether there is one before the first, and
on what later boots say. All that lies between the nearest stamps below and above the hour's own that are sure to count;
a stamp of an hour with a conflicting event may be quarantined, so such an hour is read and the next one looked for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Set

from quotaloop.marts.plan import Notes

Boot = tuple[str, str]
Spans = Mapping[int, tuple[int, int]]  # hour (epoch ms) to least and greatest seq
_BEYOND = 2**63  # the greatest stamp is one less


def hours_beside(notes: Notes, emit: Set[int], frozen: Set[int], doubtful: Set[int]) -> frozenset[int]:
    """Hours (epoch ms) whose stamps take part in the rows of the hours ``emit``; those are among them if stamped.

    ``frozen`` hours have no say; ``doubtful`` are hours with conflicting events.
    """
    found: set[int] = set()
    stamped: set[Boot] = set()
    for boot, spans in _spans(notes, frozen).items():
        if not emit.isdisjoint(spans):
            stamped.add(boot)
            found |= _beside(spans, emit, doubtful)
    for note in notes.values():
        found.update(hour for host, _, hour, prior, _ in note.prior if (host, prior) in stamped)
    return frozenset(found - frozen)


def _spans(notes: Notes, frozen: Set[int]) -> dict[Boot, dict[int, tuple[int, int]]]:
    """Of every boot, its hours with their least and greatest stamps."""
    found: dict[Boot, dict[int, tuple[int, int]]] = defaultdict(dict)
    for note in notes.values():
        for host, boot, hour, first, last in note.stamps:
            if hour not in frozen:
                least, greatest = found[host, boot].get(hour, (first, last))
                found[host, boot][hour] = (min(least, first), max(greatest, last))
    return found


def _beside(spans: Spans, emit: Set[int], doubtful: Set[int]) -> set[int]:
    """Of one boot, the hours that reach into what lies between the sure stamps around an hour of ``emit``."""
    sure = [0, *sorted({seq for hour, span in spans.items() if hour not in doubtful for seq in span}), _BEYOND]
    found = {hour for hour in spans if hour in emit}
    others = {hour: span for hour, span in spans.items() if hour not in emit}
    beside: set[int] = set()
    for first, last in [spans[hour] for hour in found]:
        below, above = sure[bisect_left(sure, first) - 1], sure[bisect_right(sure, last)]
        beside |= {hour for hour, (least, greatest) in others.items() if least <= above and greatest >= below}
    return found | beside
