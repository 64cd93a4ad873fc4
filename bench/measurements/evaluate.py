"""Is a quota any good: three made-up months, from enough capacity to too little, through every way to set limits.

Nothing here is a time: the same seed and code give the same figures on any machine, so they are kept by themselves, in
``bench/evaluation.json``, and shown in ``docs/evaluation.md``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.page import table
from bench.traffic import TIGHTNESS, traffic
from quotaloop.quotas.evaluation.baselines import METHODS, Known, Method, ours
from quotaloop.quotas.evaluation.evaluate import evaluate
from quotaloop.quotas.policy import Policy

FORMAT = "quotaloop/evaluation@1"
SEED, DAYS = 5, 21
OVERBOOKED = ((0.001, 1.25), (0.003, 1.25), (0.15, 2.5))  # max_over_share and headroom
_HEAD = ("way", "denied", "over, minutes", "over", "denied while free", "denied within share", "Jain", "change a day")
Document = dict[str, Any]


def measure() -> Document:
    """One evaluation for each tightness of the capacity; how long it took is told, not kept."""
    found: Document = {"format": FORMAT, "seed": SEED, "days": DAYS, "levels": {}}
    for tightness in TIGHTNESS:
        made = traffic(SEED, days=DAYS, tightness=tightness)
        began = time.monotonic()
        evaluation = evaluate(made.connection, hours=made.hours, settings=made.settings, methods=_methods())
        took = time.monotonic() - began
        made.connection.close()
        print(f"  {tightness}: {len(evaluation.days)} days judged in {took:.0f} s", file=sys.stderr, flush=True)
        found["levels"][tightness] = asdict(evaluation)
    return found


def _methods() -> dict[str, Method]:
    """The usual ways, and ours as far as limits may add up to more than the capacity."""
    more = {f"ours, overbooked {share * 100:g} %": _overbooked(share, headroom) for share, headroom in OVERBOOKED}
    return {"ours": METHODS["ours"], **more, **METHODS}


def _overbooked(share: float, headroom: float) -> Method:
    def method(known: Known) -> Policy:
        settings = replace(known.settings, max_over_share=share, headroom=headroom)
        return ours(replace(known, settings=settings))

    return method


def write(document: Document, path: Path) -> None:
    """Keep it as JSON."""
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")


def read(path: Path) -> Document:
    """What was kept; raises ``ValueError`` for another format."""
    document: Document = json.loads(path.read_text("utf-8"))
    if document.get("format") != FORMAT:
        raise ValueError(f"{path.name} is not of format {FORMAT}")
    return document


def tables(document: Document) -> str:
    """A table for each tightness and kind."""
    parts = [f"`python -m bench --only evaluate`: seed {document['seed']}, {document['days']} days."]
    for tightness, level in document["levels"].items():
        for kind, capacity in level["capacity"].items():
            parts.append(f"### Capacity {tightness}: {kind}, {capacity:,} a minute")
            figures = {way: of_kinds[kind] for way, of_kinds in level["methods"].items()}
            wanted = next(iter(figures.values()))["demand"]
            parts.append(f"{len(level['days'])} days, {level['tenants']} tenants, {wanted:,} {kind} wanted.")
            parts.append(table((*_HEAD, "worst off"), list(_rows(figures)), right=range(1, 8)))
    return "\n\n".join(parts)


def _rows(figures: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[str, ...]]:
    for way, found in figures.items():
        yield (
            way,
            _percent(found["denied_share"]),
            f"{found['minutes_over']:,}",
            f"{found['over']:,}",
            _percent(found["denied_while_free_share"]),
            _percent(found["denied_within_share_share"]),
            "-" if found["jain"] is None else f"{found['jain']:.3f}",
            "-" if found["change"] is None else _percent(found["change"]),
            f"{found['worst_tenant']}: {_percent(found['worst_share'])}" if found["worst_tenant"] else "-",
        )


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"
